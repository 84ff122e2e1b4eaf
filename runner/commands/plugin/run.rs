//! `runner plugin run`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use miette::miette;
use tokio::sync::mpsc;

use super::{file, grants, rehearsal::Handed, workbench::Workbench};
use crate::{
    cli::RehearseArgs,
    commands::{Surroundings, secrets},
    error::{Error, ExitStatus},
    model::{Artifact, Grants, Limits, chain},
    output::{self, DeniedCall, Loaded, Output, RehearsalReport},
    plugin::{Engine, Heard, Listener, OutputForm, Plugin, PluginFile},
    run::{self, Rehearsal, Rehearsed},
};

/// Calls a plugin and shows everything that comes of it.
pub(super) fn run(
    args: &RehearseArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let limits = run::set_limits(&args.limits).map_err(Error::usage)?;
    let grants = grants::read(&args.grants, &limits)?;
    let path = file::find(&args.file, output)?;
    let file = PluginFile::read(&path, limits.file).map_err(|error| unusable(&chain(&error)))?;
    let handed = Handed::read(args, &file)?;
    let secrets = read_secrets(args, &grants, surroundings, output)?;
    let env = grants::environment(&grants, &handed.input, &handed.config, &secrets)?;
    let access = grants::access(&grants, &secrets, &surroundings.scratch_root)?;

    let engine = if args.fuel {
        Engine::with_fuel
    } else {
        Engine::new
    };
    let bench = Workbench::new(engine, surroundings, output)?;
    let (plugin, took) = bench.link(&file);
    let made = plugin
        .map_err(|error| unusable(&chain(&error)))
        .and_then(|plugin| Ok((check(&plugin, &handed, &limits, &bench)?, plugin)));
    // Whatever else it says of itself: it was stopped.
    if let Some(status) = bench.stopped() {
        return Ok(status);
    }
    let (requests, plugin) = made?;
    let (open, _) = run::not_granted(&requests, &grants);
    if !open.is_empty() && !args.json {
        output.hint(&format!("requested, and not granted: {}", open.join(", ")));
    }
    let loaded = Loaded {
        compiled: plugin.compiled(),
        took,
    };
    let is_text = handed
        .invocation
        .as_ref()
        .is_some_and(|invocation| invocation.output != OutputForm::Json);
    let rehearsal = Arc::new(Rehearsal {
        plugin,
        input: handed.input.to_string().into(),
        config: handed.config.to_string().into(),
        seed: args.seed,
        files: handed.files,
        invocation: handed.invocation,
        limits,
        access,
        env,
        timeout: args.timeout,
    });

    let listens = (!args.json).then_some(output);
    let rehearsed = rehearse(&rehearsal, args.repeat.get(), &bench, listens);
    if let Some(status) = bench.stopped() {
        return Ok(status);
    }
    let shown = rehearsed.last().expect("it is called at least once");
    if let Some(folder) = &args.artifacts {
        write_artifacts(folder, &shown.attempt.artifacts)?;
    }
    let report = RehearsalReport {
        path: &path,
        loaded,
        calls: &rehearsed,
        is_text,
        denied: denied(shown),
        artifacts: args.artifacts.as_deref(),
    };
    if args.json {
        output.data(&report.json());
    } else {
        report.print(output);
    }
    Ok(if shown.attempt.outcome.is_bad() {
        ExitStatus::NotPassed
    } else {
        ExitStatus::Success
    })
}

/// Reads the values of the secrets that are granted, all of which must have one.
fn read_secrets(
    args: &RehearseArgs,
    granted: &Grants,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<BTreeMap<String, String>, Error> {
    let names = grants::secret_names(granted);
    let values = secrets::read(&names, &args.secrets, surroundings.variable, output)?;
    let missing = names.iter().filter(|name| !values.contains_key(*name));
    let missing: Vec<_> = missing.map(|name| (name.as_str(), String::new())).collect();
    if missing.is_empty() {
        Ok(values)
    } else {
        Err(secrets::no_value(&missing))
    }
}

/// Checks configuration and input as a run does before its first trial, and returns what the plugin asks for.
fn check(
    plugin: &Plugin,
    handed: &Handed,
    limits: &Limits,
    bench: &Workbench,
) -> Result<Vec<String>, Error> {
    let (guests, interrupt) = (bench.guests(), &bench.interrupt);
    let described = run::describe(plugin, handed.protocol, *limits, guests, interrupt);
    let fits = bench.wait(described).and_then(|description| {
        let Some(description) = description else {
            return Ok(Vec::new());
        };
        if let Some(schema) = run::check_config(&description, &handed.config)? {
            run::check_input(&schema, &handed.input)?;
        }
        Ok(description.requests)
    });
    fits.map_err(|error| {
        Error::usage(miette!(
            help =
                "`runner plugin inspect` shows what the plugin says of its configuration and input",
            "the plugin cannot be called so: {error}"
        ))
    })
}

/// Calls the plugin until it was called often enough, or did not do well, or is stopped. The first call is heard.
fn rehearse(
    rehearsal: &Arc<Rehearsal>,
    repeat: u32,
    bench: &Workbench,
    listens: Option<&Output>,
) -> Vec<Rehearsed> {
    let mut rehearsed = Vec::new();
    for number in 1..=repeat {
        let listens = listens.filter(|_| number == 1);
        let called = bench.wait(call(rehearsal, number, bench, listens));
        let is_last = called.attempt.outcome.is_bad() || bench.stopped().is_some();
        rehearsed.push(called);
        if is_last {
            break;
        }
    }
    rehearsed
}

/// Makes one call, and prints what the plugin says while it runs.
async fn call(
    rehearsal: &Arc<Rehearsal>,
    repeat: u32,
    bench: &Workbench,
    listens: Option<&Output>,
) -> Rehearsed {
    // Not printed where it is heard: a screen that does not move on must not hold the guest up.
    let (sender, mut lines) = mpsc::unbounded_channel();
    let listener = listens.map(|_| {
        Listener::new(move |heard: Heard<'_>| {
            if let Some(line) = output::heard_line(heard) {
                // Nobody waits for it once the call is given up.
                drop(sender.send(line));
            }
        })
    });
    let print = |line: String| {
        if let Some(output) = listens {
            output.talk(&line);
        }
    };
    let ended = rehearsal.attempt(repeat, listener, bench.guests(), &bench.interrupt);
    tokio::pin!(ended);
    let ended = loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => print(line),
            ended = &mut ended => break ended,
        }
    };
    while let Ok(line) = lines.try_recv() {
        print(line);
    }
    ended
}

fn denied(rehearsed: &Rehearsed) -> Vec<DeniedCall> {
    let denied = rehearsed.attempt.denied.iter();
    denied
        .map(|denied| DeniedCall {
            what: denied.what.clone(),
            flags: denied
                .grant
                .as_deref()
                .map(grants::flags)
                .unwrap_or_default(),
            line: denied.grant.clone(),
        })
        .collect()
}

fn write_artifacts(folder: &Path, artifacts: &[Artifact]) -> Result<(), Error> {
    let write = || {
        fs_err::create_dir_all(folder)?;
        // Their names are no paths: the host has seen to that.
        artifacts
            .iter()
            .try_for_each(|artifact| fs_err::write(folder.join(&artifact.name), &artifact.bytes))
    };
    write().map_err(|error| Error::storage(miette!("cannot write the artifacts: {error}")))
}

fn unusable(problem: &str) -> Error {
    Error::usage(miette!("{problem}"))
}
