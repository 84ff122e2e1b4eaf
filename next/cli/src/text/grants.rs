//! What providers are granted, ask for and were denied, as lines that can be pasted into a scenario.

use std::collections::BTreeSet;

use runner_engine::Preview;
use runner_model::{
    Grants,
    grants::{
        FsMode,
        toml::{GrantsToml, toml_key},
    },
    units::{plural, show_size},
    visible::visible_line,
};
use runner_record::ManifestProvider;
use runner_report::{Denials, not_granted, table_with};

use super::style;

/// The tables of a run's providers that are granted something.
pub fn tables(providers: &[ManifestProvider]) -> Vec<String> {
    let tables = providers.iter();
    let tables = tables.flat_map(|provider| table(&provider.name, &provider.grants));
    tables.collect()
}

fn table(provider: &str, grants: &Grants) -> Vec<String> {
    let lines = GrantsToml::from(grants).table(provider);
    let lines = lines.iter().map(|line| visible_line(line).into_owned());
    lines.collect()
}

/// What a run would be: each provider with what it is granted, and what it asks for beyond that.
pub fn preview(preview: &Preview) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} on {}, {} at a time",
        visible_line(&preview.scenario),
        plural(preview.trials, "trial", "trials"),
        plural(preview.providers.len() as u64, "provider", "providers"),
        preview.jobs,
    )];
    let missing = &preview.missing_secrets;
    let providers = preview.providers.iter();
    lines.extend(providers.flat_map(|provider| previewed(provider, missing)));
    lines
}

fn previewed(provider: &ManifestProvider, missing: &BTreeSet<String>) -> Vec<String> {
    let limits = &provider.limits;
    let scratch = match limits.scratch {
        0 => String::new(),
        scratch => format!(", scratch {}", show_size(scratch)),
    };
    let mut lines = vec![format!(
        "{}: {} `{}`, memory {}{scratch}",
        style::bold(&visible_line(&provider.name)),
        provider.kind,
        visible_line(&provider.plugin),
        show_size(limits.memory),
    )];
    let table = table(&provider.name, &provider.grants);
    if table.is_empty() {
        lines.push("  is granted nothing".to_owned());
    }
    lines.extend(table.iter().map(|line| format!("  {line}")));
    for name in missing.intersection(&provider.grants.secret_names()) {
        lines.push(format!("  secret {name} {}", style::yellow("(no value)")));
    }
    let description = provider.description.as_ref();
    let requests = description.map_or(&[][..], |description| &description.requests);
    let (requests, wanted) = not_granted(requests, &provider.grants);
    if !requests.is_empty() {
        let requests = visible_line(&requests.join(", ")).into_owned();
        lines.push(format!("  asks for more than it is granted: {requests}"));
    }
    if wanted != provider.grants {
        lines.push("  the scenario grants it with".to_owned());
        let table = self::table(&provider.name, &wanted);
        lines.extend(table.iter().map(|line| format!("    {line}")));
        let mut folders = wanted.fs.iter();
        if limits.scratch == 0 && folders.any(|grant| grant.mode == FsMode::ReadWrite) {
            let name = toml_key(&provider.name);
            lines.push(format!("    [providers.{name}.limits]"));
            lines.push("    scratch = \"16MiB\"".to_owned());
        }
    }
    lines
}

/// What was denied, and how to grant all of it at once beside what is granted; no line of nothing.
pub fn denials(denials: &Denials, providers: &[ManifestProvider]) -> String {
    if denials.is_empty() {
        return String::new();
    }
    let mut lines = vec![style::bold("denied:")];
    for (provider, denials) in denials.by_provider() {
        let told = &denials[..denials.len().min(Denials::MAX_TOLD)];
        let name = visible_line(provider);
        for denial in told {
            let times = match denial.count {
                1 => String::new(),
                count => format!(", in {count} attempts"),
            };
            lines.push(format!("  {name}: {}{times}", visible_line(&denial.what)));
        }
        if denials.len() > told.len() {
            lines.push(format!("  {name}: … and more"));
        }
        let granted = providers.iter().find(|known| known.name == provider);
        let nothing = Grants::default();
        let granted = granted.map_or(&nothing, |known| &known.grants);
        let table = table_with(provider, granted, told);
        if !table.is_empty() {
            lines.push("    to allow it, the scenario grants".to_owned());
            let table = table.iter();
            lines.extend(table.map(|line| format!("      {}", visible_line(line))));
        }
    }
    lines.join("\n")
}
