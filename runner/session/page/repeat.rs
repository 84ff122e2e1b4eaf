//! The command that makes an attempt at a trial again, outside of any run.

use std::path::{Path, PathBuf};

use super::find::FoundTrial;
use crate::{
    model::{
        Digest, FsGrant, FsMode, Grant, Grants, LimitUnit, Limits, ShownDuration, bundled_name,
        escape_json, quoted,
    },
    record::{ManifestProvider, RunReader},
    scenario::{
        DEFAULT_TIMEOUT, OutputForm, Protocol, Provider, RunOptions, Scenario, Stdin, Test,
    },
};

/// Bytes of an input that stands on the command line; a longer one comes from standard input.
const MAX_INPUT: usize = 1024;

/// The command, as a shell takes it; `None` if the run has no such provider.
pub(super) fn command(
    dir: &Path,
    reader: &RunReader,
    scenario: &Scenario,
    test: &Test,
    found: &FoundTrial,
) -> Option<String> {
    let mut providers = scenario.providers().iter();
    let provider = providers.find(|provider| provider.id.as_str() == found.provider)?;
    let mut stored = reader.manifest().providers.iter();
    let stored = stored.find(|stored| stored.name == found.provider)?;
    let options = RunOptions::of_stored(&reader.manifest().options).over(scenario.options());

    let mut words = vec!["runner".to_owned(), "plugin".to_owned(), "run".to_owned()];
    words.push(text(&plugin(provider, stored, reader)));
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    let is_long = test.input.len() > MAX_INPUT;
    if is_long {
        flag("--input", "-".to_owned());
    } else if &*test.input != "null" {
        flag("--input", visible_json(&test.input));
    }
    if provider
        .config
        .as_object()
        .is_some_and(|config| !config.is_empty())
    {
        flag("--config", visible_json(&provider.config.to_string()));
    }
    for file in &*test.files {
        let path = text(&reader.content().path(file.sha256));
        flag("--file", format!("{}={path}", file.name));
    }
    for grant in grants(&provider.grants, scenario.directory()) {
        flag("--grant", grant);
    }
    for limit in limits(&stored.limits.0) {
        flag("--limit", limit);
    }
    let timeout = test.timeout.unwrap_or(DEFAULT_TIMEOUT);
    if timeout != DEFAULT_TIMEOUT {
        flag("--timeout", ShownDuration(timeout).to_string());
    }
    if options.seed() != 0 {
        flag("--seed", options.seed().to_string());
    }
    words.extend(call(provider, stored, test, reader));
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    let command = words.join(" ");
    Some(match is_long {
        // The run by its path, which leads there whatever the results root is.
        true => format!(
            "runner show {} {} --open input | {command}",
            quoted(&text(dir)),
            quoted(&found.trial)
        ),
        false => command,
    })
}

/// The plugin as the scenario names it, or as the run has stored it where that is another file now.
fn plugin(provider: &Provider, stored: &ManifestProvider, reader: &RunReader) -> PathBuf {
    let path = &provider.plugin;
    let is_same = bundled_name(path).is_some()
        || path.is_dir()
        || fs_err::File::open(path)
            .and_then(Digest::of_reader)
            .is_ok_and(|digest| digest == stored.plugin_sha256);
    match is_same {
        true => path.clone(),
        false => reader.content().path(stored.plugin_sha256),
    }
}

fn grants(grants: &Grants, scenario: &Path) -> Vec<String> {
    let Grants {
        net,
        secrets,
        bound_secrets,
        fs,
        env,
    } = grants;
    let net = net.iter().cloned().map(|net| Grant::Net(net).flag());
    let secrets = secrets.iter().cloned();
    let secrets = secrets.map(|name| Grant::Secret(name).flag());
    let bound = bound_secrets.iter().cloned();
    let bound = bound.map(|bound| Grant::BoundSecret(bound).flag());
    let folders = fs.iter().map(|FsGrant { path, mount, mode }| {
        let mode = match mode {
            FsMode::ReadOnly => "",
            FsMode::ReadWrite => ":rw",
        };
        format!("fs={}:{mount}{mode}", text(&scenario.join(path)))
    });
    let env = env
        .iter()
        .map(|(name, value)| format!("env={name}={value}"));
    net.chain(secrets)
        .chain(bound)
        .chain(folders)
        .chain(env)
        .collect()
}

/// The limits that are not the default.
fn limits(limits: &Limits) -> Vec<String> {
    let default = Limits::default();
    let time = limits
        .time
        .map(|time| format!("time={}", ShownDuration(time)));
    let table = Limits::TABLE.iter();
    let others = table.filter(|limit| limit.get(limits) != limit.get(&default));
    let others = others.map(|limit| {
        let value = limit.get(limits);
        let value = match limit.unit {
            LimitUnit::Bytes if value > 0 && value % (1 << 20) == 0 => {
                format!("{}MiB", value >> 20)
            }
            LimitUnit::Bytes | LimitUnit::Count { .. } => value.to_string(),
        };
        format!("{}={value}", limit.key)
    });
    time.into_iter().chain(others).collect()
}

/// How a command is called; nothing for a component.
fn call(
    provider: &Provider,
    stored: &ManifestProvider,
    test: &Test,
    reader: &RunReader,
) -> Vec<String> {
    if stored.kind != "command" {
        return Vec::new();
    }
    let protocol = provider.protocol.unwrap_or(Protocol::Plain);
    let mut words = vec!["--protocol".to_owned(), protocol.as_str().to_owned()];
    if protocol == Protocol::Json {
        return words;
    }
    let stdin = match &provider.stdin {
        None => None,
        Some(Stdin::Text(template)) => Some(template.text()),
        Some(Stdin::File(name)) => {
            let file = test.files.iter().find(|file| file.name == *name);
            file.map(|file| format!("@{}", text(&reader.content().path(file.sha256))))
        }
    };
    for (flag, value) in [
        ("--stdin", stdin),
        (
            "--output",
            (provider.output != OutputForm::Text).then(|| provider.output.as_str().to_owned()),
        ),
    ] {
        words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    if !provider.args.is_empty() {
        words.push("--".to_owned());
        words.extend(provider.args.iter().map(|template| template.text()));
    }
    words
}

/// JSON in which nothing steers a terminal, so that what is seen of it is what it is.
fn visible_json(json: &str) -> String {
    let mut json = json.as_bytes().to_vec();
    escape_json(&mut json, 0);
    String::from_utf8_lossy(&json).into_owned()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
