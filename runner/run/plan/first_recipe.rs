//! The plan's digest as version 0.1.0 made it, so that its runs can be resumed.
//!
//! It hashed JSON, and of a command's invocation a text that showed the program's own types. That text is spelt out
//! here. Nothing new is hashed in this way.

use serde_json::{Map, Value, json};

use super::planned::PlannedProvider;
use crate::{
    model::{BoundSecret, Digest, quoted_text},
    plugin::Kind,
    scenario::{OutputForm, Protocol, Reuse, Stdin, Template, TemplatePiece},
};

/// The digest of a plan by the first recipe.
pub(super) fn of_plan<'a>(
    suite: Digest,
    providers: impl Iterator<Item = &'a PlannedProvider>,
    seed: u32,
) -> Digest {
    let providers = providers.map(|provider| {
        let name = provider.definition.id.to_string();
        (name, deciding(provider, seed))
    });
    let plan = json!({
        "version": 1,
        "suite": suite.to_string(),
        "providers": providers.collect::<Map<_, _>>(),
    });
    Digest::of(plan.to_string().as_bytes())
}

fn deciding(provider: &PlannedProvider, seed: u32) -> Value {
    let limits = &provider.limits;
    let grants = &provider.definition.grants;
    let fs = grants.fs.iter();
    let fs = fs.map(|grant| json!([grant.path, grant.mount, grant.mode.as_str()]));
    let mut deciding = json!({
        "plugin": provider.file.sha256.to_string(),
        "kind": provider.file.kind.as_str(),
        "config": provider.definition.config,
        "invocation": invocation(provider),
        "reuse": provider.definition.reuse.map(Reuse::as_str),
        "limits": {
            "input": limits.input,
            "memory": limits.memory,
            "table_elements": limits.table_elements,
            "reply": limits.reply,
            "log": limits.log,
            "log_records": limits.log_records,
            "stdio": limits.stdio,
            "artifacts": limits.artifacts,
            "artifact_files": limits.artifact_files,
            "http_requests": limits.http_requests,
            "http_response": limits.http_response,
            "scratch": limits.scratch,
        },
        "grants": {
            "net": grants.net.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "secrets": grants.secrets,
            "fs": fs.collect::<Vec<_>>(),
            "env": grants.env,
        },
        "seed": seed,
    });
    if !grants.bound_secrets.is_empty() {
        let bound = grants.bound_secrets.iter().map(BoundSecret::element);
        deciding["grants"]["bound_secrets"] = bound.collect::<Vec<_>>().into();
    }
    deciding
}

fn invocation(provider: &PlannedProvider) -> Option<String> {
    let Kind::Command(_) = provider.file.kind else {
        return None;
    };
    let definition = &provider.definition;
    let protocol = match definition.protocol {
        None => "None",
        Some(Protocol::Plain) => "Some(Plain)",
        Some(Protocol::Json) => "Some(Json)",
    };
    let args: Vec<_> = definition.args.iter().map(template).collect();
    let stdin = match &definition.stdin {
        None => "None".to_owned(),
        Some(Stdin::Text(text)) => format!("Some(Text({}))", template(text)),
        Some(Stdin::File(name)) => format!("Some(File({}))", quoted_text(name)),
    };
    let output = match definition.output {
        OutputForm::Text => "Text",
        OutputForm::Trimmed => "Trimmed",
        OutputForm::Json => "Json",
    };
    Some(format!("{protocol} [{}] {stdin} {output}", args.join(", ")))
}

fn template(template: &Template) -> String {
    let pieces = template.pieces().iter().map(|piece| match piece {
        TemplatePiece::Text(text) => format!("Text({})", quoted_text(text)),
        TemplatePiece::Path(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| quoted_text(key)).collect();
            format!("Path([{}])", keys.join(", "))
        }
    });
    let pieces: Vec<_> = pieces.collect();
    format!("Template {{ pieces: [{}] }}", pieces.join(", "))
}

#[cfg(test)]
mod tests {
    use super::template;
    use crate::scenario::Template;

    #[test]
    fn a_template_is_spelt_as_version_0_1_0_did() {
        let parsed = Template::parse("it's {{row.a.0}} and {{row.b}}").unwrap();
        assert_eq!(template(&parsed), format!("{parsed:?}"));
    }
}
