//! [`Watching`]: what the command line shows of a session of its own process.

use std::io::{self, IsTerminal as _};

use miette::miette;

use super::{Surroundings, detach::leave_terminal, naming};
use crate::{
    cli::TalkArgs,
    error::Error,
    output::{EventStream, Mode, Notices, Output, Report},
    record::Conclusion,
    run::{self, StopSignals},
    session::{Begin, Host, NothingLeft, Notice, Observe},
    toolchain::Source,
};

/// What the command line shows of a session: notices, and a report or a stream of events. It leaves the terminal with it.
pub(super) struct Watching<'a> {
    notices: Notices,
    report: Box<dyn Observe + 'a>,
    output: Output,
    is_quiet: bool,
    is_json: bool,
    is_detached: bool,
}

impl<'a> Watching<'a> {
    /// Begins to watch.
    pub(super) fn new(
        is_json: bool,
        talk: &TalkArgs,
        surroundings: &'a Surroundings,
        output: &Output,
    ) -> Self {
        let is_detached = surroundings.is_detached;
        let mode = match talk.quiet {
            true => Mode::Quiet,
            false if io::stderr().is_terminal() && !is_detached => Mode::Terminal,
            false => Mode::Plain,
        };
        let report: Box<dyn Observe + 'a> = match is_json {
            true => Box::new(EventStream::new(output.clone())),
            false => Box::new(Report::new(
                output.clone(),
                mode,
                talk.verbose,
                Box::new(|conclusion| naming::resume_after(conclusion, surroundings)),
            )),
        };
        Self {
            notices: Notices(output.clone()),
            report,
            output: output.clone(),
            is_quiet: talk.quiet,
            is_json,
            is_detached,
        }
    }
}

impl Observe for Watching<'_> {
    fn notice(&mut self, notice: &Notice<'_>) {
        if !(self.is_quiet && matches!(notice, Notice::Swept(_))) {
            self.notices.notice(notice);
        }
    }

    fn begin(&mut self, begin: &Begin<'_>) {
        self.report.begin(begin);
        if !self.is_detached {
            return;
        }
        // The event stream has said it already.
        if !self.is_json {
            self.output.data(begin.run.as_str());
        }
        match (begin.open_log)().and_then(leave_terminal) {
            Ok(()) => self.output.go_to_log(),
            Err(error) => self
                .output
                .warn(&format!("the run stays with this terminal: {error}")),
        }
    }

    fn event(&mut self, event: &run::Event<'_>) {
        self.report.event(event);
    }

    fn nothing_left(&mut self, left: &NothingLeft<'_>) {
        self.report.nothing_left(left);
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        self.report.conclude(conclusion);
    }

    fn may_build(&mut self, source: &Source) -> bool {
        self.notices.may_build(source)
    }
}

/// What this process offers to a session of its own: its signals stop it, and what the runner traces goes into its log.
pub(super) fn host(surroundings: &Surroundings, output: &Output) -> Result<Host, Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let screen = output.clone();
    signals.pause_by(move |pause| screen.aside(pause));
    Ok(Host {
        signals: Some(signals),
        log: surroundings.log(output),
        ..surroundings.host.clone()
    })
}
