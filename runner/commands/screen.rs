//! [`SessionScreen`]: what the command line shows of a session of its own process.

use std::io::{self, IsTerminal as _};

use super::{Context, detach::leave_terminal};
use crate::{
    cli::VerbosityArgs,
    output::{EventStream, Mode, Notices, Output, Report},
    run,
    session::{Begin, Conclusion, NothingLeft, Notice, Observe},
    toolchain::Source,
};

/// What the command line shows of a session: notices, and a report or a stream of events. It leaves the terminal with it.
pub(super) struct SessionScreen {
    notices: Notices,
    report: Box<dyn Observe>,
    output: Output,
    is_quiet: bool,
    is_json: bool,
    is_detached: bool,
}

impl SessionScreen {
    /// Begins to watch.
    pub(super) fn new(is_json: bool, verbosity: &VerbosityArgs, context: &Context) -> Self {
        let (output, is_detached) = (&context.output, context.is_detached);
        let mode = match verbosity.quiet {
            true => Mode::Quiet,
            false if io::stderr().is_terminal() && !is_detached => Mode::Terminal,
            false => Mode::Plain,
        };
        let report: Box<dyn Observe> = match is_json {
            true => Box::new(EventStream::new(output.clone())),
            false => Box::new(Report::new(
                output.clone(),
                mode,
                verbosity.verbose,
                context.results.clone(),
            )),
        };
        Self {
            notices: context.notices(),
            report,
            output: output.clone(),
            is_quiet: verbosity.quiet,
            is_json,
            is_detached,
        }
    }
}

impl Observe for SessionScreen {
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
