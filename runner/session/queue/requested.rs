//! What is asked of a process that is started for it: how it is written, and the process itself.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use miette::miette;
use rustix::{io::fcntl_dupfd_cloexec, stdio};

use crate::{
    error::Error,
    filter::Filter,
    model::chain,
    record::{Conclusion, QueuedRequest, RequestedExec, RequestedResume, RequestedWork, Store},
    run,
    scenario::{RunOptions, Selection},
    session::{
        Begin, Build, Exclusivity, Host, NothingLeft, Notice, Observe, RerunChoice, Resume, Start,
        resume, start,
    },
    toolchain::Source,
};

/// The first argument of a process that is started for a request; the second is the results root, and its standard input
/// the request.
pub const START_ARGUMENT: &str = "__start";

/// Writes down what is asked for, with the current folder.
pub(super) fn of_start(request: &Start) -> Result<RequestedWork, Error> {
    if request.into.is_some() || request.exclusivity != Exclusivity::Shared {
        return Err(Error::usage(miette!(
            "what waits for others can neither have a directory of its own nor be alone"
        )));
    }
    Ok(RequestedWork::Exec(RequestedExec {
        folder: current_folder()?,
        scenario: text(&request.scenario)?,
        selection: request.selection.to_stored(),
        options: request.overrides.to_stored(),
        is_build: request.build == Build::Always,
        secret_files: texts(&request.secret_files)?,
    }))
}

/// The same of a run that is to be gone on with.
pub(super) fn of_resume(request: &Resume) -> Result<RequestedWork, Error> {
    Ok(RequestedWork::Resume(RequestedResume {
        folder: current_folder()?,
        run: request.run.id.to_string(),
        options: request.overrides.to_stored(),
        secret_files: texts(&request.secret_files)?,
        rerun: request.rerun.as_ref().map(|choice| match choice {
            RerunChoice::Rule(rule) => rule.to_string(),
            RerunChoice::Filter(filter) => filter.as_str().to_owned(),
        }),
        accept_changes: request.accept_changes,
        force: request.force,
        sessions: Some(request.run.sessions),
    }))
}

fn current_folder() -> Result<String, Error> {
    let folder = fs_err::canonicalize(".");
    let folder = folder.map_err(|error| Error::usage(miette!("{}", chain(&error))))?;
    text(&folder)
}

fn texts(paths: &[std::path::PathBuf]) -> Result<Vec<String>, Error> {
    paths.iter().map(|path| text(path)).collect()
}

fn text(path: &Path) -> Result<String, Error> {
    let refused = || Error::usage(miette!("`{}` is not valid UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(refused)
}

/// Carries out the request that is this process's standard input, in the results root `root`: blocks until the session is
/// over.
///
/// # Errors
///
/// Fails if the request cannot be read, and as [`start()`](crate::session::start) and [`resume()`](crate::session::resume)
/// do.
pub fn run_requested(
    root: &Path,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Conclusion, Error> {
    let input = take_input().map_err(|error| Error::internal(miette!("{error}")))?;
    let read = || -> io::Result<QueuedRequest> {
        let mut bytes = Vec::new();
        std::fs::File::from(input.try_clone()?).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let request =
        read().map_err(|error| Error::internal(miette!("the request cannot be read: {error}")))?;
    let store = Store::open(root).map_err(Error::record)?;
    let mut announced = Announced {
        id: &request.id,
        store: &store,
        held: Some(input),
        observe,
    };
    match &request.work {
        RequestedWork::Exec(exec) => {
            let asked = start_of(exec, root)?;
            start::start_requested(&asked, request.mark(), host, &mut announced)
        }
        RequestedWork::Resume(asked) => {
            let asked = resume_of(asked, &store)?;
            resume::resume(&asked, host, &mut announced)
        }
    }
}

/// Takes the standard input away from what this process starts: its lock is this process's alone.
fn take_input() -> io::Result<OwnedFd> {
    let input = fcntl_dupfd_cloexec(stdio::stdin(), 3)?;
    stdio::dup2_stdin(fs_err::File::open("/dev/null")?)?;
    Ok(input)
}

fn start_of(exec: &RequestedExec, root: &Path) -> Result<Start, Error> {
    Ok(Start {
        selection: Selection::of_stored(&exec.selection).map_err(Error::usage)?,
        overrides: RunOptions::of_stored(&exec.options),
        build: match exec.is_build {
            true => Build::Always,
            false => Build::Ask,
        },
        secret_files: exec.secret_files.iter().map(Into::into).collect(),
        ..Start::new(&exec.scenario, root)
    })
}

fn resume_of(asked: &RequestedResume, store: &Store) -> Result<Resume, Error> {
    let run = store.find_to_claim(&asked.run).map_err(Error::find)?;
    let choice = |text: &String| match Filter::is_meant_by(text) {
        true => Filter::parse(text)
            .map(RerunChoice::Filter)
            .map_err(Error::usage),
        false => text
            .parse()
            .map(RerunChoice::Rule)
            .map_err(|error: globset::Error| Error::usage(miette!("{error}"))),
    };
    Ok(Resume {
        overrides: RunOptions::of_stored(&asked.options),
        secret_files: asked.secret_files.iter().map(Into::into).collect(),
        rerun: asked.rerun.as_ref().map(choice).transpose()?,
        accept_changes: asked.accept_changes,
        force: asked.force,
        ..Resume::new(run)
    })
}

/// Tells the queue that the run is there before anybody else hears of it.
struct Announced<'a> {
    id: &'a str,
    store: &'a Store,
    /// The request's file with its lock.
    held: Option<OwnedFd>,
    observe: &'a mut dyn Observe,
}

impl Announced<'_> {
    fn is_done(&mut self) {
        // Whoever looks next finds the run that names it.
        if let Err(error) = self.store.request_is_done(self.id) {
            tracing::warn!("the queue cannot be told of the run: {}", chain(&error));
        }
        self.held = None;
    }
}

impl Observe for Announced<'_> {
    fn notice(&mut self, notice: &Notice<'_>) {
        self.observe.notice(notice);
    }

    fn begin(&mut self, begin: &Begin<'_>) {
        self.is_done();
        self.observe.begin(begin);
    }

    fn event(&mut self, event: &run::Event<'_>) {
        self.observe.event(event);
    }

    fn nothing_left(&mut self, left: &NothingLeft<'_>) {
        self.is_done();
        // That no id is said tells whoever has started this process.
        tracing::info!("nothing is left to run of {}", left.run.id);
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        // Before it has begun, only its id may be said.
        if self.held.is_none() {
            self.observe.conclude(conclusion);
        }
    }

    fn may_build(&mut self, source: &Source) -> bool {
        self.observe.may_build(source)
    }
}
