//! The recorded calls of an attempt: a list, or one call in full.

use runner_engine::has_journal;
use runner_model::units::plural;
use runner_model::visible::visible_line;
use runner_record::RunDir;
use runner_report::{CallsDocument, RecordedCall, Section};

use crate::text::{Out, cut, style};

/// Calls of a list without `--full`.
pub const MOST_CALLS: usize = 100;

/// Advice for a run without a journal.
const NO_JOURNAL: &str = "note: `[run] journal = true` or `exec --journal` records calls";

/// Prints the list of calls, each with the first lines of its request and response.
pub fn print(document: &CallsDocument, run: &RunDir, out: &Out) {
    let CallsDocument { trial, attempt, total, problem, calls, .. } = document;
    out.data(&format!("{trial}, attempt {attempt}: {}", plural(*total, "call", "calls")));
    for call in calls {
        print_call(call, out);
    }
    let left = total - calls.len() as u64;
    if left > 0 {
        out.data(&format!("… {}: `--full` shows all", plural(left, "more call", "more calls")));
    }
    if let Some(problem) = problem {
        out.hint(&format!("note: the journal cannot be used, because {}", visible_line(problem)));
    }
    if *total == 0 && problem.is_none() {
        print_advice(run, out);
    }
}

/// Prints how to record calls, if the run has no journal.
pub fn print_advice(run: &RunDir, out: &Out) {
    let has_journal = run.manifest().ok().and_then(|manifest| has_journal(run, &manifest));
    if has_journal == Some(false) {
        out.hint(NO_JOURNAL);
    }
}

fn print_call(call: &RecordedCall, out: &Out) {
    let line = |text: &str| {
        let text = visible_line(text);
        // A line of a call never looks like one of another call.
        out.data(&out.columns().map_or_else(|| text.to_string(), |columns| cut(&text, columns)));
    };
    let RecordedCall { id, method, url, .. } = call;
    line(&format!("{id:>4}  {method} {url}"));
    out.data(&format!("      {}", style::dim(&visible_line(&call.facts()))));
    for (mark, text) in [('→', &call.request), ('←', &call.response)] {
        // `str::lines` would hide carriage returns.
        text.split_terminator('\n').for_each(|text| line(&format!("      {mark} {text}")));
    }
}

/// Prints a call in full. Its texts are indented, so that none of them can imitate a title.
pub fn print_whole(sections: &[Section], out: &Out) {
    let mut lines = out.lines(false);
    for Section { title, text } in sections {
        lines.add(&style::bold(title));
        text.split_terminator('\n')
            .for_each(|line| lines.add(&format!("  {}", visible_line(line))));
    }
}
