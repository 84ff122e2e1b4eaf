//! [`SessionScreen`]: what the command line shows of a session of its own process.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use jiff::Timestamp;

use super::{Context, detach::leave_terminal};
use crate::{
    cli::VerbosityArgs,
    output::{self, EventStream, GroupReport, Mode, Notices, Output, PressedKeys, Report},
    run,
    session::{
        self, Begin, Conclusion, GroupConclusion, GroupMember, NothingLeft, Notice, Observe,
    },
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
    now: fn() -> Timestamp,
    /// The keys that are pressed while the session goes on.
    keys: Option<PressedKeys>,
}

impl SessionScreen {
    /// Begins to watch one run.
    pub(super) fn new(is_json: bool, verbosity: &VerbosityArgs, context: &Context) -> Self {
        let output = context.output.clone();
        let (mode, results) = (mode(verbosity, context), context.results.clone());
        let report: Box<dyn Observe> = match is_json {
            true => Box::new(EventStream::new(output)),
            false => Box::new(Report::new(output, mode, verbosity.verbose, results)),
        };
        Self::by(report, is_json, verbosity, context)
    }

    /// Begins to watch the runs of a group.
    pub(super) fn of_group(is_json: bool, verbosity: &VerbosityArgs, context: &Context) -> Self {
        let (output, results) = (context.output.clone(), context.results.clone());
        let mode = mode(verbosity, context);
        let report = GroupReport::new(output, mode, verbosity.verbose, results, is_json);
        Self::by(Box::new(report), is_json, verbosity, context)
    }

    fn by(
        report: Box<dyn Observe>,
        is_json: bool,
        verbosity: &VerbosityArgs,
        context: &Context,
    ) -> Self {
        let (output, is_detached) = (&context.output, context.is_detached);
        Self {
            notices: context.notices(),
            report,
            output: output.clone(),
            is_quiet: verbosity.quiet,
            is_json,
            is_detached,
            now: context.host.now,
            keys: None,
        }
    }

    /// Shows at the key `t` what the attempts of a run are doing.
    fn listen_to_keys(&mut self, run_dir: &Path) {
        let (output, dir, now) = (self.output.clone(), run_dir.to_owned(), self.now);
        self.keys = self.output.listen(move |key| {
            if key == b't'
                && let Ok(Some(activity)) = session::waiting(&dir, now())
            {
                output::print_activity(&activity, &output);
            }
        });
    }
}

fn mode(verbosity: &VerbosityArgs, context: &Context) -> Mode {
    match verbosity.quiet {
        true => Mode::Quiet,
        false if io::stderr().is_terminal() && !context.is_detached => Mode::Terminal,
        false => Mode::Plain,
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
            if !self.is_json && !self.is_quiet {
                self.listen_to_keys(begin.run_dir);
            }
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
        if self.is_detached && !self.is_json {
            self.output.data(left.run.id.as_str());
            self.output.talk("nothing is left to run");
            return;
        }
        self.report.nothing_left(left);
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        self.keys = None;
        self.report.conclude(conclusion);
    }

    fn member(&mut self, member: &GroupMember<'_>) {
        self.report.member(member);
    }

    fn group(&mut self, group: &GroupConclusion) {
        self.report.group(group);
    }

    fn may_build(&mut self, source: &Source) -> bool {
        self.notices.may_build(source)
    }
}
