//! [`GroupReport`]: what is seen of the runs of a group: each as it goes on, a line when it is over, and one summary.

use std::path::{Path, PathBuf};

use owo_colors::OwoColorize as _;

use super::{
    Output, format, quoted,
    report::{Mode, Report},
    standing::Standing,
    stream::EventStream,
    table::{Cell, Column, Table},
    tone::Tone,
};
use crate::{
    error::ExitStatus,
    model::{Reason, RunStatus},
    plugin::Moment,
    record::Conclusion,
    run,
    session::{Begin, GroupConclusion, GroupEnd, GroupMember, NothingLeft, Notice, Observe},
};

/// Reports the runs of a group, one after another.
pub struct GroupReport {
    output: Output,
    mode: Mode,
    is_verbose: bool,
    results: PathBuf,
    is_json: bool,
    started: Moment,
    /// The report of the run that goes on.
    member: MemberReport,
}

/// How a run of the group is told.
enum MemberReport {
    /// For people.
    Report(Box<Report>),
    /// For programs: its events, numbered from 1 again.
    Stream(EventStream),
}

impl GroupReport {
    /// Begins a report.
    pub fn new(
        output: Output,
        mode: Mode,
        is_verbose: bool,
        results: PathBuf,
        is_json: bool,
    ) -> Self {
        let mut report = Self {
            member: MemberReport::Stream(EventStream::new(output.clone())),
            output,
            mode,
            is_verbose,
            results,
            is_json,
            started: Moment::now(),
        };
        report.member = report.next();
        report
    }

    fn next(&self) -> MemberReport {
        let output = self.output.clone();
        match self.is_json {
            true => MemberReport::Stream(EventStream::new(output)),
            false => MemberReport::Report(Box::new(Report::new(
                output,
                self.mode,
                self.is_verbose,
                self.results.clone(),
            ))),
        }
    }

    fn inner(&mut self) -> &mut dyn Observe {
        match &mut self.member {
            MemberReport::Report(report) => &mut **report,
            MemberReport::Stream(stream) => stream,
        }
    }

    /// How many of the scenarios passed, the time, and the exit code, on one line.
    fn closing(&self, group: &GroupConclusion) -> String {
        let of = group.ended.len() + group.not_begun.len();
        let passed = group.ended.iter().filter(|end| {
            let conclusion = end.result.as_ref();
            conclusion.is_ok_and(|conclusion| ExitStatus::of(conclusion) == ExitStatus::Success)
        });
        let head = format!("{} of {of} scenarios passed", passed.count());
        let (tone, sign) = match group.status {
            ExitStatus::Success => (Tone::Good, '✓'),
            ExitStatus::NotPassed => (Tone::Bad, '✗'),
            _ => (Tone::Open, '◐'),
        };
        let head = format!("{sign} {head}");
        let head = tone.paint(&head);
        let took = format::duration(self.started.elapsed());
        let exit = match group.status {
            ExitStatus::Success => String::new(),
            status => format!("; exit code {}", status.code()),
        };
        format!("{head} in {took}{exit}")
    }
}

impl Observe for GroupReport {
    fn notice(&mut self, notice: &Notice<'_>) {
        self.inner().notice(notice);
    }

    fn member(&mut self, member: &GroupMember<'_>) {
        self.member = self.next();
        if !self.is_json && self.mode != Mode::Quiet {
            let place = format!("{}/{}", member.place, member.of);
            let name = format::visible_line(member.name);
            self.output.talk(&format!("\n{} {name}", place.bold()));
        }
    }

    fn begin(&mut self, begin: &Begin<'_>) {
        self.inner().begin(begin);
    }

    fn event(&mut self, event: &run::Event<'_>) {
        self.inner().event(event);
    }

    fn nothing_left(&mut self, left: &NothingLeft<'_>) {
        self.inner().nothing_left(left);
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        match &mut self.member {
            MemberReport::Report(report) => report.conclude_briefly(conclusion),
            MemberReport::Stream(stream) => stream.conclude(conclusion),
        }
    }

    fn group(&mut self, group: &GroupConclusion) {
        for end in &group.ended {
            if let Err(error) = &end.result {
                self.output.error(error);
            }
        }
        let is_told = self.mode != Mode::Quiet || group.status != ExitStatus::Success;
        if self.is_json || !is_told {
            return;
        }
        let talk = |line: &str| self.output.talk(line);
        talk(&format!(
            "\n{}",
            table(&group.ended, self.output.talk_columns())
        ));
        for (what, names) in [
            ("not begun", &group.not_begun),
            ("nothing selected in", &group.without_tests),
        ] {
            if !names.is_empty() {
                let names: Vec<_> = names
                    .iter()
                    .map(|name| format::visible_line(name))
                    .collect();
                talk(&format!("{what}: {}", names.join(", ")));
            }
        }
        talk(&format!("\ngroup: {}", group.id));
        let ended = group
            .ended
            .iter()
            .filter_map(|end| end.result.as_ref().ok());
        let left = ended.filter(|conclusion| {
            matches!(conclusion.status, RunStatus::Incomplete | RunStatus::Failed)
        });
        let (spent, left): (Vec<_>, Vec<_>) =
            left.partition(|conclusion| conclusion.reason == Some(Reason::Budget));
        for conclusion in spent {
            // Each needs a larger budget of its own.
            let ended = (conclusion.status, conclusion.reason);
            let (dir, run) = (&conclusion.run_dir, &conclusion.run);
            if let Some(command) = super::resume_command(dir, run, ended, &self.results) {
                talk(&super::resume_line(&command));
            }
        }
        let root = left
            .first()
            .and_then(|conclusion| conclusion.run_dir.parent());
        if let Some(root) = root {
            let mut command = format!("runner resume --from {}", group.id);
            if !is_same(root, &self.results) {
                command += &format!(" --results {}", quoted(&root.to_string_lossy()));
            }
            talk(&super::resume_line(&command));
        }
        talk(&self.closing(group));
    }
}

/// Which scenario it is that is told of next.
pub fn scenario_text(scenario: &Path) -> String {
    format!("{}", format::path(scenario).bold())
}

/// Tells whether two paths are written alike but for dots.
fn is_same(one: &Path, other: &Path) -> bool {
    let plain = |path: &Path| -> PathBuf { path.components().collect() };
    plain(one) == plain(other)
}

fn table(ended: &[GroupEnd], width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("scenario").cut(1, 12),
        Column::new("status").brief(1),
        Column::new("verdict"),
        Column::new("done").right(),
    ]);
    for end in ended {
        let [status, verdict, done] = match &end.result {
            Ok(conclusion) => {
                let standing = Standing::after(conclusion);
                let counts = conclusion.counts;
                let done = format!(
                    "{}/{}",
                    format::count(counts.done()),
                    format::count(counts.planned)
                );
                [standing.status_cell(), standing.verdict_cell(), done.into()]
            }
            Err(_) => [
                Cell::new("not begun").painted(Tone::Bad),
                Cell::new(""),
                Cell::new(""),
            ],
        };
        table.row([end.name.as_str().into(), status, verdict, done]);
    }
    table.fitted(width)
}
