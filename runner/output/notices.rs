//! [`Notices`]: what a use case has to say beside its answer, for people.

use std::{path::Path, time::Duration};

use super::{
    Output,
    format::{self, plural},
    rehearsal::{heard_line, requested_text},
};
use crate::{
    session::{Notice, Observe, swept_text},
    toolchain::Source,
    view::{NotifiedTarget, NotifyReport},
};

/// How many lines of a scenario's diff are shown.
const MAX_DIFF_LINES: usize = 20;

/// Says what a use case has to say, and sees nothing else of it.
pub struct Notices(pub Output);

impl Observe for Notices {
    fn notice(&mut self, notice: &Notice<'_>) {
        tell(notice, &self.0);
    }

    fn may_build(&mut self, source: &Source) -> bool {
        let question = format!(
            "Plugin `{}` is not built yet. Run its build tools in `{}` now, outside the sandbox?",
            source.name(),
            format::path(source.folder())
        );
        self.0.ask(&question).unwrap_or(false)
    }
}

/// Says how the calls of a rehearsal go. Who wants a document has in it what the plugin says.
pub struct RehearsalNotices {
    notices: Notices,
    is_document: bool,
}

impl RehearsalNotices {
    /// Says it by `notices`.
    pub fn new(notices: Notices, is_document: bool) -> Self {
        Self {
            notices,
            is_document,
        }
    }
}

impl Observe for RehearsalNotices {
    fn notice(&mut self, notice: &Notice<'_>) {
        if !(self.is_document && notice.is_of_rehearsal()) {
            self.notices.notice(notice);
        }
    }

    fn may_build(&mut self, source: &Source) -> bool {
        self.notices.may_build(source)
    }
}

/// Says that trials came to no verdict, and what runs them again.
pub(super) fn unjudged(count: u64, output: &Output) {
    output.talk(&format!(
        "{} ended in an error or timed out; `--rerun errors` runs {} again",
        plural(count, "trial"),
        if count == 1 { "it" } else { "them" }
    ));
}

fn tell(notice: &Notice<'_>, output: &Output) {
    match notice {
        Notice::AwaitingEnd { run } => output.talk(&format!("waiting for {run} to end")),
        Notice::RequestStays { error } => {
            output.warn(&format!("the request cannot be taken back: {error}"));
        }
        Notice::Stale(_)
        | Notice::StaleFile(_)
        | Notice::Building(_)
        | Notice::BuildLine(_)
        | Notice::Built(_) => tell_of_build(notice, output),
        Notice::IdleGrant { provider, why } => {
            output.warn(&format!("provider `{provider}`: {why}"));
        }
        Notice::IdleGrader { grader } => output.warn(&format!(
            "grader `{grader}`: no test names it in `expect.graders`"
        )),
        Notice::IdleAxis { provider, key } => output.warn(&format!(
            "provider `{provider}`: nothing uses `{{{{matrix.{key}}}}}`, so the providers of its values do the same"
        )),
        Notice::MoreIdleGrants(more) => output.warn(&format!("{more} more grants do nothing")),
        Notice::ShortSecret { name } => output.warn(&format!(
            "secret `{name}` is shorter than {} bytes: it is not redacted where it is written",
            crate::plugin::Secrets::MIN_REDACTED
        )),
        Notice::ReadableSecrets { path } => output.warn(&format!(
            "`{path}` can be read by others; `chmod 600 {path}` keeps its secrets",
            path = format::path(path)
        )),
        Notice::LeftToOthers(left) => output.talk(&left.to_string()),
        Notice::Reduced(reduced) => output.warn(&reduced.to_string()),
        Notice::Swept(swept) => output.talk(&swept_text(swept)),
        Notice::AwaitingOthers { root } => output.plain(&format!(
            "waiting for the other runs in `{}` to end",
            format::path(root)
        )),
        Notice::ScenarioChanged { .. }
        | Notice::GrantsChanged { .. }
        | Notice::PluginChanged { .. }
        | Notice::NothingChanged
        | Notice::GrantsAdopted { .. }
        | Notice::Adopting { .. } => tell_of_changes(notice, output),
        Notice::CalledAsJson
        | Notice::NotGranted { .. }
        | Notice::LastCallSaid { .. }
        | Notice::Heard(_) => tell_of_rehearsal(notice, output),
        Notice::Report { path } => output.talk(&format!("report: {}", format::path(path))),
        Notice::Grading {
            judged,
            waiting,
            running,
        } => output.talk(&format!(
            "{} judged, {} to be graded, {} asked now",
            format::plural(*judged, "trial"),
            format::count(*waiting),
            format::plural(*running as u64, "grader")
        )),
        Notice::StoppingGraders(why) => output.talk(&format!(
            "stopping: {}; no more graders are asked",
            format::visible_line(why)
        )),
        Notice::JudgingAgain { changed } => output.talk(&format!(
            "of {} only what is expected has changed: judged again without running",
            format::plural(*changed, "trial")
        )),
        Notice::Notified(target) => notified(target, output),
        Notice::Unjudged(count) => unjudged(*count, output),
    }
}

/// Says who was told of a run's end, and who could not be.
pub fn print_notified(report: &NotifyReport, output: &Output) {
    for target in &report.targets {
        notified(target, output);
    }
    if report.targets.is_empty() {
        output.talk(match report.already_told {
            0 => "nobody is to be told of this end",
            _ => "everybody has been told; `--again` tells them once more",
        });
    }
}

/// Says whether somebody was told of a run's end.
fn notified(target: &NotifiedTarget, output: &Output) {
    let NotifiedTarget {
        to, answer, result, ..
    } = target;
    match *result {
        "delivered" => output.plain(&format!("told {to} of the end: {answer}")),
        "refused" => output.warn(&format!("{to} refused to be told of the end: {answer}")),
        _ => output.warn(&format!(
            "{to} could not be told of the end: {answer}; `runner notify` tries again"
        )),
    }
}

/// How a plugin is built.
fn tell_of_build(notice: &Notice<'_>, output: &Output) {
    match notice {
        Notice::Stale(source) => output.warn(&format!(
            "plugin `{}` was not built from what is in `{}` now; `--build` builds it anew",
            source.name(),
            format::path(source.folder())
        )),
        Notice::StaleFile(source) => output.warn(&format!(
            "plugin `{}` was not built from what is in its folder now; `{}` builds it anew",
            source.name(),
            format::visible_line(&source.build_command())
        )),
        Notice::Building(source) => output.plain(&format!(
            "building plugin `{}` in `{}`",
            source.name(),
            format::path(source.folder())
        )),
        Notice::BuildLine(line) => output.hint(line),
        Notice::Built(built) => output.plain(&format!(
            "built {} ({}) in {}",
            format::path(&built.path),
            bytesize::ByteSize(built.size),
            seconds(built.took)
        )),
        _ => {}
    }
}

/// What happens while a plugin is called outside of any run.
fn tell_of_rehearsal(notice: &Notice<'_>, output: &Output) {
    match *notice {
        Notice::CalledAsJson => output.hint(
            "it answers to the JSON protocol, and is called by it; `--protocol plain` is the other way",
        ),
        Notice::NotGranted {
            requests,
            granted,
            wanted,
            limits,
        } => output.hint(&requested_text(requests, granted, wanted, limits)),
        Notice::LastCallSaid { number, of } => {
            output.hint(&format!("call {number} of {of} said:"));
        }
        Notice::Heard(heard) => output.talk(&heard_line(heard)),
        _ => {}
    }
}

/// What is not as it was when a run began.
fn tell_of_changes(notice: &Notice<'_>, output: &Output) {
    match notice {
        Notice::ScenarioChanged { path, diff } => scenario_changed(path, diff, output),
        Notice::GrantsChanged { provider } => output.warn(&format!(
            "the grants of provider `{provider}` have changed since the run began; the stored ones are used"
        )),
        Notice::PluginChanged { provider } => output.warn(&format!(
            "the plugin of provider `{provider}` has changed since the run began; the stored one is used"
        )),
        Notice::NothingChanged => output.talk("nothing has changed since the run began"),
        Notice::GrantsAdopted { provider } => {
            output.talk(&format!("the grants of provider `{provider}` have changed"));
        }
        Notice::Adopting { changed, added } => output.talk(&format!(
            "adopting changes: {} changed, {added} added",
            plural(*changed, "trial")
        )),
        _ => {}
    }
}

fn scenario_changed(path: &Path, diff: &[String], output: &Output) {
    output.warn(&format!(
        "scenario `{}` has changed since the run began; the stored one is used",
        format::path(path)
    ));
    diff.iter()
        .take(MAX_DIFF_LINES)
        .for_each(|line| output.hint(line));
    let more = diff.len().saturating_sub(MAX_DIFF_LINES);
    if more > 0 {
        output.hint(&format!("… {more} more lines"));
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
