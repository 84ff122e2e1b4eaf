//! What a session prints for people: failures as they come, progress, and the end.

use std::{path::Path, time::Duration};

use runner_engine::{Ended, Observer, RunEvent};
use runner_model::{
    RowRef, StopSignal,
    exit::Exit,
    units::plural,
    visible::{visible, visible_line},
};
use runner_record::{Manifest, ResultsRoot, RowFacts, RunHead};
use runner_report::{Denials, Failures, RunSummary, phrases, short_of};

use super::{
    Out,
    failures::{self, BLOCK_LINES, row_block, row_line},
    grants,
    progress::Progress,
    summary,
};
use crate::args::SessionArgs;

/// Failures that are shown as they come; later ones are only counted.
const MOST_BLOCKS: u64 = 50;

/// Prints a session.
pub struct Screen<'a> {
    out: &'a Out,
    args: &'a SessionArgs,
    progress: Option<Progress<'a>>,
    failures: Failures,
    denials: Denials,
    took: Duration,
}

impl<'a> Screen<'a> {
    pub fn new(out: &'a Out, args: &'a SessionArgs) -> Self {
        Self {
            out,
            args,
            progress: (!args.quiet).then(|| Progress::new(out)),
            failures: Failures::default(),
            denials: Denials::default(),
            took: Duration::ZERO,
        }
    }

    /// Prints how the session ended. How a group is continued is said of all its runs.
    pub fn end(mut self, ended: &Ended, is_of_group: bool) {
        self.progress = None;
        let (out, is_quiet) = (self.out, self.args.quiet);
        if is_quiet && ended.exit == Exit::Success {
            return;
        }
        let run = summary_of(ended);
        // A single failure stands right above.
        if !is_quiet && self.failures.trials > 1 {
            let failed = failures::list(&self.failures, out.columns());
            out.data(&format!("\n{failed}"));
        }
        let denied = grants::denials(&self.denials, &ended.manifest.providers);
        if !denied.is_empty() {
            out.data(&denied);
        }
        if let Some(message) = &run.message {
            out.data(message);
        }
        out.data(&summary::standing(&run, self.took));
        if !is_quiet {
            out.data(&format!("results: {}", visible_line(&run.run_dir)));
        }
        if !is_quiet && !is_of_group {
            summary::print_next_steps(&run, &self.args.root.flag(), out);
        }
    }

    fn started(&mut self, manifest: &Manifest, directory: &Path, pending: u64, jobs: u32) {
        if self.args.quiet {
            return;
        }
        let planned = manifest.metadata.planned_trial_count;
        let providers = plural(manifest.providers.len() as u64, "provider", "providers");
        let text = if manifest.sessions.len() > 1 {
            let run = directory.to_string_lossy();
            format!("resuming {}: {pending} of {planned} trials", visible_line(&run))
        } else {
            let trials = plural(planned, "trial", "trials");
            format!("{}: {trials}", visible_line(&manifest.scenario))
        };
        self.out.talk(&format!("{text} on {providers}, {jobs} at a time"));
    }

    fn row(&mut self, facts: RowFacts, line: &[u8]) {
        let is_failure = facts.is_final && facts.outcome.is_bad();
        if !is_failure && !self.args.verbose && !facts.has_denied {
            return;
        }
        // What this process has written is a row.
        let Ok(row) = serde_json::from_slice::<RowRef<'_>>(line) else {
            return;
        };
        self.denials.add(&row);
        if is_failure {
            self.failures.add(&row);
            let count = self.failures.trials;
            if count <= MOST_BLOCKS {
                self.out.data(&row_block(&row, BLOCK_LINES));
            } else if count == MOST_BLOCKS + 1 {
                self.out.hint(&format!(
                    "more than {MOST_BLOCKS} failures: `runner show --failed{}` has all",
                    self.args.root.flag()
                ));
            }
        } else if self.args.verbose {
            self.out.data(&row_line(&row));
        }
    }
}

impl Observer for Screen<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Started { manifest, directory, pending, jobs } => {
                self.started(manifest, directory, *pending, *jobs)
            }
            RunEvent::Born { .. } => {}
            RunEvent::Compiling { plugin } => {
                if let Some(progress) = &mut self.progress {
                    progress.say(&format!("compiling {}", visible_line(plugin)));
                }
            }
            RunEvent::Row { row, line, .. } => self.row(*row, line),
            RunEvent::Progress { counts, planned, in_flight, waits_for_memory } => {
                if let Some(progress) = &mut self.progress {
                    progress.update(counts, *planned, *in_flight, *waits_for_memory);
                }
            }
            RunEvent::Stopping { signal, by, in_flight } => {
                let attempts = plural(*in_flight, "attempt", "attempts");
                let by = match (by, signal) {
                    (Some(by), _) => format!(" (asked to by {})", phrases::actor(by)),
                    (None, Some(signal)) => format!(" ({})", phrases::signal(*signal)),
                    // What ends it by itself is said at the end.
                    (None, None) if *in_flight == 0 => return,
                    (None, None) => String::new(),
                };
                let again = match signal {
                    Some(StopSignal::Interrupt) if *in_flight > 0 => "; Ctrl-C again kills them",
                    _ => "",
                };
                self.out.talk(&format!("stopping{by}: {attempts} in flight{again}"));
            }
            RunEvent::Paused { by } => {
                self.out.talk(&format!("paused by {}", phrases::pauser(*by)));
            }
            RunEvent::Unpaused => self.out.talk("the run goes on"),
            RunEvent::Notice(text) => self.out.talk(&format!("note: {}", visible(text))),
            RunEvent::Finished { took, .. } => self.took = *took,
        }
    }
}

/// The summary of a session's run. The short id is used only if no other run of the root has it.
fn summary_of(ended: &Ended) -> RunSummary {
    let id = &ended.manifest.id;
    let needs_name = ended.exit != Exit::Success;
    let root = ended.directory.parent().filter(|_| needs_name);
    let root = root.and_then(|root| ResultsRoot::existing(root).ok());
    let short = root.map_or_else(|| id.clone(), |root| short_of(&root, id));
    let directory = ended.directory.display().to_string();
    RunSummary::of(RunHead::from(&ended.manifest), short, directory)
}
