//! Finding the plugin files of a scenario, and building those that are folders with source.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use miette::miette;

use crate::{
    error::{Error, ExitStatus},
    model::{StopSignal, chain},
    run::{self, StopRequest, StopSignals},
    scenario::{Provider, Scenario, ScenarioError, Selection},
    session::{Host, Notice, Observe},
    toolchain::{BuildWatch, Built, Source, SourceError, SourceState},
};

/// Whether plugins may be built; only a person can say so, never a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Build what is stale or missing.
    Always,
    /// Ask the observer for what is missing.
    Ask,
}

/// Finds the plugin file of every provider and then of every grader, in the scenario's order. What is not selected is neither built nor missed.
pub(crate) fn find(
    scenario: &Scenario,
    selection: &Selection,
    build: Build,
    signals: Option<&StopSignals>,
    observe: &mut dyn Observe,
) -> Result<Vec<PathBuf>, Error> {
    let is_wanted = |provider: &Provider| selection.has_provider(&provider.id);
    find_wanted(scenario, selection, is_wanted, build, (signals, observe))
}

/// The same of its graders alone; providers are neither built nor missed.
pub(crate) fn find_graders(
    scenario: &Scenario,
    build: Build,
    signals: Option<&StopSignals>,
    observe: &mut dyn Observe,
) -> Result<Vec<PathBuf>, Error> {
    let nobody = |_: &Provider| Ok(false);
    let everything = Selection::default();
    find_wanted(scenario, &everything, nobody, build, (signals, observe))
}

fn find_wanted(
    scenario: &Scenario,
    selection: &Selection,
    is_wanted: impl Fn(&Provider) -> Result<bool, ScenarioError>,
    build: Build,
    (signals, observe): (Option<&StopSignals>, &mut dyn Observe),
) -> Result<Vec<PathBuf>, Error> {
    // Before any tool runs, and not only when the plan is there: a guest may have left something in the source.
    if scenario
        .plugins()
        .any(|provider| Source::is_at(&provider.plugin))
    {
        let checked = run::check_scenario(scenario, None, selection, Vec::new());
        checked.map_err(Error::usage)?;
    }
    let mut built: HashMap<&Path, PathBuf> = HashMap::new();
    let mut files = Vec::new();
    for (place, provider) in scenario.plugins().enumerate() {
        let path = provider.plugin.as_path();
        let is_selected =
            place >= scenario.providers().len() || is_wanted(provider).map_err(Error::usage)?;
        if !Source::is_at(path) || !is_selected {
            files.push(path.into());
            continue;
        }
        let file = match built.get(path) {
            Some(file) => file.clone(),
            None => of_folder(provider, build, signals, observe)?,
        };
        built.insert(path, file.clone());
        files.push(file);
    }
    Ok(files)
}

fn of_folder(
    provider: &Provider,
    build: Build,
    signals: Option<&StopSignals>,
    observe: &mut dyn Observe,
) -> Result<PathBuf, Error> {
    let folder = plain(&provider.plugin);
    let source = Source::open(&folder).map_err(|error| unusable(&error))?;
    let (state, stopped) = listening(signals, |is_stopped| source.state(is_stopped));
    let state = state.map_err(|error| match error {
        SourceError::Stopped => stopped.error(&source),
        error => unusable(&error),
    });
    match state? {
        SourceState::Fresh(file) => Ok(file),
        SourceState::Stale(file) if build == Build::Ask => {
            observe.notice(&Notice::Stale(&source));
            Ok(file)
        }
        SourceState::Missing if build == Build::Ask && !observe.may_build(&source) => {
            Err(not_built(&source, provider))
        }
        SourceState::Stale(_) | SourceState::Missing => {
            build_now(&source, signals, observe).map(|built| built.path)
        }
    }
}

/// Builds the plugin in a folder with its source.
///
/// # Errors
///
/// Fails if the folder is not a plugin, if its tools fail, or if a signal ends them.
pub fn build_plugin(folder: &Path, host: &Host, observe: &mut dyn Observe) -> Result<Built, Error> {
    let source = Source::open(folder).map_err(|error| unusable(&error))?;
    build_now(&source, host.signals.as_ref(), observe)
}

/// Builds a plugin, tells about it, and ends the tools when a signal comes.
fn build_now(
    source: &Source,
    signals: Option<&StopSignals>,
    observe: &mut dyn Observe,
) -> Result<Built, Error> {
    observe.notice(&Notice::Building(source));
    let (built, stopped) = listening(signals, |is_stopped| {
        source.build(&mut BuildWatch {
            on_line: &mut |line| observe.notice(&Notice::BuildLine(line)),
            is_stopped,
        })
    });
    match built {
        Ok(built) => {
            observe.notice(&Notice::Built(&built));
            Ok(built)
        }
        Err(SourceError::Stopped) => Err(stopped.error(source)),
        Err(error) => Err(unusable(&error)),
    }
}

/// Does something with a plugin's source that a signal stops.
fn listening<T>(
    signals: Option<&StopSignals>,
    work: impl FnOnce(&dyn Fn() -> bool) -> T,
) -> (T, Arc<BuildStop>) {
    let stopped = Arc::new(BuildStop::default());
    let flag = Arc::clone(&stopped);
    if let Some(signals) = signals {
        signals.listen(move |request| flag.set(&request));
    }
    let done = work(&|| stopped.is_set.load(Ordering::Relaxed));
    if let Some(signals) = signals {
        signals.stop_listening();
    }
    (done, stopped)
}

/// Whether a build is to stop, and by which signal.
#[derive(Default)]
struct BuildStop {
    is_set: AtomicBool,
    is_terminate: AtomicBool,
    is_hang_up: AtomicBool,
}

impl BuildStop {
    fn set(&self, request: &StopRequest) {
        match request.signal {
            Some(StopSignal::Terminate) => self.is_terminate.store(true, Ordering::Relaxed),
            Some(StopSignal::HangUp) => self.is_hang_up.store(true, Ordering::Relaxed),
            Some(StopSignal::Interrupt) | None => {}
        }
        self.is_set.store(true, Ordering::Relaxed);
    }

    fn error(&self, source: &Source) -> Error {
        Error {
            status: ExitStatus::Signalled(self.signal()),
            report: miette!("building plugin `{}` was stopped", source.name()),
        }
    }

    fn signal(&self) -> StopSignal {
        if self.is_terminate.load(Ordering::Relaxed) {
            return StopSignal::Terminate;
        }
        if self.is_hang_up.load(Ordering::Relaxed) {
            return StopSignal::HangUp;
        }
        StopSignal::Interrupt
    }
}

fn not_built(source: &Source, provider: &Provider) -> Error {
    Error::usage(miette!(
        help = format!(
            "add `--build` to build it, or run `{}`; this runs its build tools outside the sandbox",
            source.build_command()
        ),
        "plugin `{}` of provider `{}` is not built: `{}` has no `dist/plugin.wasm`",
        source.name(),
        provider.id,
        source.folder().display()
    ))
}

/// Makes the error of a folder that is not a plugin, or that cannot be built.
pub(super) fn unusable(error: &SourceError) -> Error {
    let text = chain(error);
    Error::usage(match error.help() {
        Some(help) => miette!(help = help, "{text}"),
        None => miette!("{text}"),
    })
}

/// The path without parts that say nothing: `.` for `./.`.
fn plain(path: &Path) -> PathBuf {
    let parts = path.components();
    let is_said = |part: &Component<'_>| *part != Component::CurDir;
    let plain: PathBuf = parts.filter(is_said).collect();
    if plain.as_os_str().is_empty() {
        return ".".into();
    }
    plain
}
