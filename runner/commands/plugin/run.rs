//! `runner plugin run`.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use miette::miette;
use rustix::fs::{Mode, OFlags, openat};
use tokio::sync::mpsc;

use super::{grants, rehearsal::Prepared, workbench::Workbench};
use crate::{
    cli::RehearseArgs,
    commands::Surroundings,
    error::{Error, ExitStatus},
    model::{Artifact, Grants, chain},
    output::{self, Output},
    plugin::{self, Engine, Heard, Listener, Plugin},
    record,
    run::{self, Rehearsal, Rehearsed, UnfitError},
    view::{CompiledPlugin, RehearsalReport},
};

/// Calls a plugin and shows everything that comes of it.
pub(super) fn run(
    args: &RehearseArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut prepared = Prepared::read(args, surroundings, output)?;
    // Opened before the plugin runs: whatever lies at the path by then, this is where its artifacts go.
    let artifacts = args.artifacts.as_deref();
    let artifacts = artifacts.map(|path| Destination::open(path, &prepared.grants));
    let artifacts = artifacts
        .transpose()
        .map_err(|error| Error::usage(miette!("`--artifacts`: {error}")))?;
    let engine = if args.fuel {
        Engine::with_fuel
    } else {
        Engine::new
    };
    let bench = Workbench::new(engine, surroundings, output)?;
    plugin::sweep_folders(&surroundings.host.scratch_root, run::wall_clock().into());
    let linked = link(&mut prepared, args, &bench);
    // Whatever else it says of itself: it was stopped.
    if let Some(status) = bench.stopped() {
        return Ok(status);
    }
    let linked = linked?;
    if !args.json && prepared.is_presumed {
        output.hint("it answers to the JSON protocol, and is called by it; `--protocol plain` is the other way");
    }
    if !args.json {
        tell_requests(&linked.requests, &prepared, output);
    }

    let is_text = prepared.is_text();
    let path = prepared.file.path.clone();
    let rehearsal = Arc::new(prepared.rehearsal(linked.plugin, args));
    let listens = (!args.json).then_some(output);
    let rehearsed = rehearse(&rehearsal, args.repeat.get(), &bench, listens);
    if let Some(status) = bench.stopped() {
        return Ok(status);
    }

    let shown = rehearsed.last().expect("it is called at least once");
    let folder = args.artifacts.as_deref();
    let written = artifacts.map(|artifacts| artifacts.write(&shown.attempt.artifacts));
    let folder = folder.filter(|_| matches!(written, Some(Ok(()))));
    let report = RehearsalReport::new(&path, linked.loaded, rehearsed, is_text, folder);
    if args.json {
        output.document(&report);
    } else {
        output::print_rehearsal(&report, output);
    }
    // Said last: what the plugin replied is there all the same.
    written.transpose()?;
    Ok(if report.outcome.is_bad() {
        ExitStatus::NotPassed
    } else {
        ExitStatus::Success
    })
}

/// A plugin that can be called as it is asked to.
struct Linked {
    plugin: Plugin,
    loaded: CompiledPlugin,
    /// What it would like to be granted.
    requests: Vec<String>,
}

/// Compiles the plugin, and checks configuration and input as a run does before its first trial.
fn link(prepared: &mut Prepared, args: &RehearseArgs, bench: &Workbench) -> Result<Linked, Error> {
    let (plugin, took) = bench.link(&prepared.file);
    let plugin = plugin.map_err(|error| Error::usage(miette!("{}", chain(&error))))?;
    let described = run::describe(
        &plugin,
        prepared.protocol,
        prepared.limits,
        bench.guests(),
        &bench.interrupt,
    );
    let described = match bench.wait(described) {
        // Most commands know nothing of the JSON protocol.
        Err(_) if prepared.is_presumed => {
            prepared.make_plain(args)?;
            Ok(None)
        }
        described => described,
    };
    let fits = async {
        let Some(description) = described? else {
            return Ok(Vec::new());
        };
        let (helper, interrupt) = (bench.helper(), &bench.interrupt);
        run::check_config(&description, &prepared.config, helper, interrupt).await?;
        run::check_input(&description, &prepared.input, helper, interrupt).await?;
        Ok(description.requests)
    };
    let requests = bench.wait(fits).map_err(|error| unfit(&error))?;
    Ok(Linked {
        loaded: CompiledPlugin::new(plugin.compiled(), took),
        plugin,
        requests,
    })
}

fn unfit(error: &UnfitError) -> Error {
    let text = format!("the plugin cannot be called so: {error}");
    Error::usage(match error {
        UnfitError::Config(_) | UnfitError::Input(_) => miette!(
            help = "`runner plugin inspect` shows the schemas of its configuration and input",
            "{text}"
        ),
        UnfitError::Silent
        | UnfitError::Describe(_)
        | UnfitError::Schema { .. }
        | UnfitError::Costly { .. }
        | UnfitError::Unchecked { .. }
        | UnfitError::Stopped => miette!("{text}"),
    })
}

/// Says what the plugin would like to be granted, and is not.
fn tell_requests(requests: &[String], prepared: &Prepared, output: &Output) {
    let (open, wanted) = run::not_granted(requests, &prepared.grants);
    if open.is_empty() {
        return;
    }
    let flags = grants::missing_flags(&prepared.grants, &wanted, &prepared.limits);
    output.hint(&output::requested_text(&open, &flags));
}

/// Calls the plugin until it was called often enough, or did not do well, or is stopped. One call is heard as it goes on;
/// of many, what the last one said is printed when it is over.
fn rehearse(
    rehearsal: &Arc<Rehearsal>,
    repeat: u32,
    bench: &Workbench,
    listens: Option<&Output>,
) -> Vec<Rehearsed> {
    let mut rehearsed = Vec::new();
    for number in 1..=repeat {
        let mut said = Vec::new();
        let hear = |line: String| match listens {
            Some(output) if repeat == 1 => output.talk(&line),
            _ => said.push(line),
        };
        let called = bench.wait(call(rehearsal, number, bench, listens.map(|_| hear)));
        // Those of the last call are shown; of a thousand calls no others are kept.
        if let Some(Rehearsed { attempt, .. }) = rehearsed.last_mut() {
            attempt.artifacts = Vec::new();
        }
        let is_last =
            number == repeat || called.attempt.outcome.is_bad() || bench.stopped().is_some();
        rehearsed.push(called);
        if is_last {
            if let (Some(output), false) = (listens, said.is_empty()) {
                output.hint(&format!("call {number} of {repeat} said:"));
                said.iter().for_each(|line| output.talk(line));
            }
            break;
        }
    }
    rehearsed
}

/// Makes one call, and lets what the plugin says be heard while it runs, if anybody hears it.
async fn call(
    rehearsal: &Arc<Rehearsal>,
    repeat: u32,
    bench: &Workbench,
    mut hear: Option<impl FnMut(String)>,
) -> Rehearsed {
    // Not printed where it is heard: a screen that does not move on must not hold the guest up.
    let (sender, mut lines) = mpsc::unbounded_channel();
    let listener = hear.is_some().then(|| {
        Listener::new(move |heard: Heard<'_>| {
            if let Some(line) = output::heard_line(heard) {
                // Nobody waits for it once the call is given up.
                drop(sender.send(line));
            }
        })
    });
    let mut print = |line: String| {
        if let Some(hear) = &mut hear {
            hear(line);
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

/// A folder that is open, for artifacts.
struct Destination {
    folder: OwnedFd,
    path: PathBuf,
    /// Of the files that are made there: as in a run's directory.
    mode: u32,
}

impl Destination {
    /// Makes the folder where it is missing.
    fn open(path: &Path, grants: &Grants) -> io::Result<Self> {
        record::create_directories(path)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty());
        let folder = folder.map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(
                error.kind(),
                format!("cannot open `{}`: {error}", path.display()),
            )
        })?;
        let mode = match run::secret_names(grants).is_empty() {
            true => record::file_mode(path),
            false => 0o600,
        };
        Ok(Self {
            folder,
            path: path.to_owned(),
            mode,
        })
    }

    /// Writes artifacts, whose names are no paths: the host has seen to that. What has such a name already is somebody
    /// else's.
    fn write(&self, artifacts: &[Artifact]) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for artifact in artifacts {
            let mode = Mode::from_raw_mode(self.mode);
            let file = openat(&self.folder, artifact.name.as_str(), flags, mode);
            let written = file
                .map_err(io::Error::from)
                .and_then(|file| artifact.content.write_to(&mut std::fs::File::from(file)));
            written.map_err(|error| {
                let path = self.path.join(&artifact.name);
                Error::storage(miette!(
                    "cannot write the artifacts: failed to create file `{}`: {error}",
                    path.display()
                ))
            })?;
        }
        Ok(())
    }
}
