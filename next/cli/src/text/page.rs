//! The page of one trial or call: what it came to and why, and its sections.

use runner_model::{RowRef, log::Said, visible::visible_line};
use runner_report::{Section, TrialDocument, call_sections};

use super::{failures::row_block, style};

/// Lines of a value, a difference or a log before the rest is left out.
const MOST_LINES: usize = 200;

/// The page of a trial.
pub fn page(document: &TrialDocument) -> String {
    let row = document.row();
    row.map_or_else(String::new, |row| painted(&row, document.sections(&row)))
}

/// The page of a call that is no trial of a run.
pub fn call_page(row: &RowRef<'_>, said: &Said<'_>) -> String {
    painted(row, call_sections(row, said))
}

fn painted(row: &RowRef<'_>, sections: Vec<Section>) -> String {
    let mut page = row_block(row, MOST_LINES);
    for Section { title, text } in sections {
        page.push_str(&format!("\n{}\n", style::bold(title)));
        let lines = text.lines().take(MOST_LINES);
        let mut lines: Vec<_> = lines.map(|line| format!("  {}", visible_line(line))).collect();
        let left = text.lines().count() - lines.len();
        if left > 0 {
            lines.push(format!("  … {left} more lines: `--json` has all"));
        }
        page.push_str(&lines.join("\n"));
    }
    page
}
