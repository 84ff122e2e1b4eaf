//! The transcript of an attempt: its messages, its calls of tools, and their results.

use runner_model::units::{plural, show_size};
use runner_model::visible::visible_line;
use runner_record::{RecordError, RunDir};
use runner_report::{
    StepPlace, StepQuery, StepText, TranscriptDocument, TranscriptStep, TrialDocument,
};

use crate::text::{Lines, Out, cut, style};

/// Columns of a step's number.
const NUMBER: usize = 7;

/// Formats the numbers of the transcript and the command that shows it. `None` without a transcript.
pub fn summary(document: &TrialDocument, run: &RunDir) -> Option<String> {
    let of_row = document.row()?.transcript?;
    let query = StepQuery { tool: None, from: StepPlace::Offset(0), limit: 0, is_full: false };
    // The command reports a damaged file.
    let found = document.transcript(run, query).ok().flatten();
    let calls = found.map(|found| format!(", {}", calls(&found))).unwrap_or_default();
    let steps = plural(of_row.steps, "step", "steps");
    Some(format!("transcript: {steps}{calls}; to see it: {}", document.transcript))
}

/// Prints a transcript.
pub fn print(document: &TranscriptDocument, out: &Out) -> Result<(), RecordError> {
    let TranscriptDocument { trial, attempt, transcript, steps, .. } = document;
    let count = plural(transcript.steps, "step", "steps");
    out.data(&format!("{trial}, attempt {attempt}: {count}, {}", calls(document)));
    let (columns, is_full) = (out.columns(), steps.is_full());
    let mut printer = Printer { lines: out.lines(false), columns, is_full, is_cut: false };
    steps.each(&mut |step| printer.step(&step))?;
    let is_cut = printer.is_cut;
    drop(printer);
    if transcript.dropped > 0 {
        let dropped = plural(transcript.dropped, "more step", "more steps");
        out.hint(&format!("note: {dropped} did not fit `limits.transcript`"));
    }
    if is_cut {
        out.hint("note: long texts are folded; `--full` shows all");
    }
    Ok(())
}

fn calls(document: &TranscriptDocument) -> String {
    plural(document.calls, "call of a tool", "calls of tools")
}

struct Printer<'a> {
    lines: Lines<'a>,
    columns: Option<usize>,
    is_full: bool,
    /// Whether a text was folded.
    is_cut: bool,
}

impl Printer<'_> {
    /// Prints a step. Its texts are indented, so that none of them can imitate another step.
    fn step(&mut self, step: &TranscriptStep) {
        let mark = if step.failed.is_empty() { " " } else { &style::red("✗") };
        let facts = visible_line(&step.facts()).into_owned();
        self.lines.add(&format!("{mark}{:>4}  {}", step.step, style::bold(&facts)));
        if let Some(reasoning) = &step.reasoning {
            self.text("┆ ", reasoning, style::dim);
        }
        self.text("", &step.message, str::to_owned);
        for call in &step.calls {
            let tool = style::cyan(&visible_line(&call.tool));
            let arguments = visible_line(&call.arguments.text).into_owned();
            let end = if self.is_cut(&call.arguments) { "…" } else { "" };
            self.line(&format!("→ {tool}({arguments}{end})"));
        }
        for failed in &step.failed {
            self.wrapped(&style::red(&format!("✗ {}", visible_line(failed))));
        }
        let mark = match &step.error {
            Some(error) => style::red(&format!("← error ({}) ", visible_line(error))),
            None => "← ".to_owned(),
        };
        step.results.iter().for_each(|result| self.text(&mark, result, str::to_owned));
        if step.left_out > 0 {
            let more = plural(step.left_out, "more call or result", "more calls and results");
            self.is_cut = true;
            self.wrapped(&format!("… {more}"));
        }
        if let Some(problem) = &step.problem {
            self.wrapped(&style::yellow(&format!("note: {}", visible_line(problem))));
        }
    }

    /// Prints the lines of a text. Folded ones of results are cut at the end of the screen's lines.
    fn text(&mut self, mark: &str, text: &StepText, paint: impl Fn(&str) -> String) {
        // `str::lines` would hide carriage returns.
        for line in text.text.split_terminator('\n') {
            let line = format!("{mark}{}", paint(&visible_line(line)));
            if mark.is_empty() { self.wrapped(&line) } else { self.line(&line) }
        }
        if self.is_cut(text) {
            self.line(&style::dim(&format!("{mark}… {} in all", show_size(text.bytes))));
        }
    }

    fn is_cut(&mut self, text: &StepText) -> bool {
        self.is_cut |= text.folded;
        text.folded
    }

    fn wrapped(&mut self, line: &str) {
        self.lines.add(&format!("{:NUMBER$}{line}", ""));
    }

    /// Prints a line, which is cut at the end of a screen's line unless all is shown.
    fn line(&mut self, line: &str) {
        let room = self.columns.filter(|_| !self.is_full);
        let shown = cut(line, room.map_or(usize::MAX, |columns| columns.saturating_sub(NUMBER)));
        self.is_cut |= shown.len() < line.len();
        self.wrapped(&shown);
    }
}
