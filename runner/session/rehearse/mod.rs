//! [`rehearse`]: calling a plugin outside of any run, as its author does.
//!
//! The attempt is made by the same code as those of runs, [`run::Rehearsal`], so that what an author sees is what a run would
//! make of it.

mod access;
mod artifacts;
mod calls;
mod plain;
mod prepare;
mod request;

use std::sync::Arc;

use miette::miette;

use super::{
    Host, Notice, Observe,
    plugins::{Bench, Interruptible},
};
use crate::{
    error::Error,
    model::chain,
    plugin::{self, Engine, Plugin},
    run::{self, UnfitError},
    view::{CompiledPlugin, RehearsalReport, RehearsedGrade},
};

use artifacts::ArtifactFolder;
use prepare::Prepared;

pub use request::{GivenFile, PlainStdin, Rehearse, RehearsedGrading};

/// A plugin that was called.
#[derive(Debug)]
pub struct RehearsedPlugin {
    /// What came of it.
    pub report: RehearsalReport,
    /// Why its artifacts are not where they were asked for.
    pub unwritten: Option<Error>,
}

/// Calls a plugin as a run would, and tells everything that comes of it. The observer hears what it says as it says it.
///
/// # Errors
///
/// Fails if the plugin cannot be called as it is asked for.
pub fn rehearse(
    request: &Rehearse,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Interruptible<RehearsedPlugin>, Error> {
    let mut prepared = Prepared::new(request, host, observe)?;
    // Opened before the plugin runs: whatever lies at the path by then, this is where its artifacts go.
    let artifacts = request.artifacts.as_deref();
    let artifacts = artifacts.map(|path| ArtifactFolder::open(path, &request.grants));
    let artifacts = artifacts
        .transpose()
        .map_err(|error| Error::usage(miette!("`--artifacts`: {error}")))?;
    let engine = match request.fuel {
        true => Engine::with_fuel,
        false => Engine::new,
    };
    let bench = Bench::new(engine, host)?;
    plugin::sweep_folders(&host.scratch_root, (host.now)().into());
    let fitted = fit(&mut prepared, request, &bench);
    // Whatever else it says of itself: it was stopped.
    if let Some(signal) = bench.interrupted() {
        return Ok(Interruptible::Interrupted(signal));
    }
    let fitted = fitted?;
    if prepared.is_presumed {
        observe.notice(&Notice::CalledAsJson);
    }
    tell_requests(&fitted.requests, request, observe);

    let is_text = prepared.is_text();
    let path = prepared.file.path.clone();
    let rehearsal = Arc::new(prepared.rehearsal(fitted.plugin, request));
    let rehearsed = calls::call(&rehearsal, request.repeat.get(), &bench, observe);
    if let Some(signal) = bench.interrupted() {
        return Ok(Interruptible::Interrupted(signal));
    }

    let shown = rehearsed.last().expect("it is called at least once");
    let written = artifacts.map(|folder| folder.write(&shown.attempt.artifacts));
    let folder = request.artifacts.as_deref();
    let folder = folder.filter(|_| matches!(written, Some(Ok(()))));
    let grading = request.grading;
    let grade = grading.map(|grading| rehearsal.grade(&shown.attempt, grading.min_score));
    let mut report = RehearsalReport::new(&path, fitted.loaded, rehearsed, is_text, folder);
    report.grade = grade.map(RehearsedGrade::from);
    Ok(Interruptible::Done(RehearsedPlugin {
        report,
        unwritten: written.and_then(Result::err),
    }))
}

/// A plugin that can be called as it is asked to.
struct FittedPlugin {
    plugin: Plugin,
    loaded: CompiledPlugin,
    /// What it would like to be granted.
    requests: Vec<String>,
}

/// Compiles the plugin, and checks configuration and input as a run does before its first trial.
fn fit(prepared: &mut Prepared, request: &Rehearse, bench: &Bench) -> Result<FittedPlugin, Error> {
    let (plugin, took) = bench.link(&prepared.file);
    let plugin = plugin.map_err(|error| Error::usage(miette!("{}", chain(&error))))?;
    let described = run::describe(
        &plugin,
        prepared.protocol,
        request.limits,
        bench.guests(),
        &bench.interrupt,
    );
    let described = match bench.wait(described) {
        // Most commands know nothing of the JSON protocol.
        Err(_) if prepared.is_presumed => {
            prepared.make_plain(request)?;
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
    Ok(FittedPlugin {
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

/// Tells what the plugin would like to be granted, and is not.
fn tell_requests(requests: &[String], request: &Rehearse, observe: &mut dyn Observe) {
    let (open, wanted) = run::not_granted(requests, &request.grants);
    if !open.is_empty() {
        observe.notice(&Notice::NotGranted {
            requests: &open,
            granted: &request.grants,
            wanted: &wanted,
            limits: &request.limits,
        });
    }
}
