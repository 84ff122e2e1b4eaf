//! [`Context`]: what a command gets beside its flags.

use std::{
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use miette::miette;

use crate::{
    error::{Error, ExitStatus},
    model::{Reason, RunStatus},
    output::{self, Notices, Output, Pager},
    record::RunId,
    report,
    run::{OverdueAction, StopSignals},
    session::{Host, Preview, SessionLog},
};

/// What a command gets beside its flags: what `main` knows of the process and its environment.
pub struct Context {
    /// What the process offers to the use cases; its program is also started again to run in the background.
    pub host: Host,
    /// Standard output and standard error.
    pub output: Output,
    /// What shows long texts on a terminal.
    pub pager: Option<Pager>,
    /// Whether this process is to leave its terminal, as [`DETACHED_ARGUMENT`](super::DETACHED_ARGUMENT) says.
    pub is_detached: bool,
    /// The results root where the command line names none.
    pub results: PathBuf,
    /// `RUNNER_RUN`: the run that is meant where the command line names none.
    pub run: Option<String>,
    /// `RUNNER_LOG`: what goes into `runner.log`.
    pub log_filter: Option<String>,
}

impl Context {
    /// Writes what somebody asked for into a file, or prints it.
    pub(super) fn write_out(
        &self,
        file: Option<&Path>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        let Some(file) = file else {
            let mut bytes = Vec::new();
            write(&mut bytes).expect("memory can be written");
            self.output.reply(&String::from_utf8_lossy(&bytes));
            return Ok(());
        };
        let written = report::write_file(file, write).map_err(|error| {
            let file = file.display();
            Error::storage(miette!("cannot write the report to `{file}`: {error}"))
        });
        written.map(|()| self.output.talk(&output::written_line(file)))
    }

    /// The host of a session of this process: its signals stop it, and what the runner traces goes into its log.
    pub(super) fn session_host(&self) -> Result<Host, Error> {
        let signals = StopSignals::install()
            .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
        let screen = self.output.clone();
        signals.pause_by(move |pause| screen.aside(pause));
        if io::stdin().is_terminal() {
            let screen = self.output.clone();
            signals.leave_by(move || screen.leave_terminal());
        }
        let screen = self.output.clone();
        Ok(Host {
            signals: Some(signals),
            overdue: OverdueAction::EndProcessAfter(Arc::new(move || screen.leave_terminal())),
            ..self.logging_host()
        })
    }

    /// The host of a session that runs nothing, and that a signal may end at any moment.
    pub(super) fn logging_host(&self) -> Host {
        Host {
            log: self.log(self.log_filter.as_deref()),
            ..self.host.clone()
        }
    }

    /// Shows what use cases have to say beside their answers.
    pub(super) fn notices(&self) -> Notices {
        Notices(self.output.clone())
    }

    /// Shows warnings of what the runner does to results, which no run's log has.
    pub(super) fn show_warnings(&self) {
        self.log(None).begin();
    }

    /// The wall clock.
    pub(super) fn now(&self) -> Timestamp {
        (self.host.now)()
    }

    /// Shows what a session would run; that is why, too, if it is to be `is_explained`.
    pub(super) fn show_preview(
        &self,
        preview: &Preview,
        is_json: bool,
        is_explained: bool,
    ) -> Result<ExitStatus, Error> {
        match is_json {
            true => output::print_plan(preview, self.now(), &self.output)?,
            false => output::print_preview(preview, is_explained, &self.output)?,
        }
        Ok(ExitStatus::Success)
    }

    /// The command that goes on with a run, if anything of it is left to do.
    pub(super) fn resume_command(
        &self,
        dir: &Path,
        id: &RunId,
        ended: (RunStatus, Option<Reason>),
    ) -> Option<String> {
        output::resume_command(dir, id, ended, &self.results)
    }

    /// Starts to receive what the runner traces, as `filter` says, and to show warnings once the log begins.
    fn log(&self, filter: Option<&str>) -> SessionLog {
        let output = self.output.clone();
        SessionLog::start(filter, move |warning| {
            // The log has it already.
            if !output.is_log() {
                output.warn(warning);
            }
        })
    }
}
