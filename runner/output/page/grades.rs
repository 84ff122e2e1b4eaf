//! What graders said of an attempt.

use owo_colors::OwoColorize as _;

use super::sections::Sections;
use crate::{
    model::CheckVerdict,
    output::{attempt_logs, failure, format},
    record::RowGrade,
    view::{grade_costs, grade_words},
};

/// Adds a part with what each grader said, if there are any.
pub(super) fn add(sections: &mut Sections, grades: &[RowGrade<'_>]) {
    if grades.is_empty() {
        return;
    }
    sections.section("grades");
    for grade in grades {
        add_grade(sections, grade);
    }
}

fn add_grade(sections: &mut Sections, grade: &RowGrade<'_>) {
    let name = format::visible_line(&grade.grader);
    let sign = match grade.verdict {
        Some(CheckVerdict::Pass) => "✓".green().to_string(),
        Some(CheckVerdict::Fail) => "✗".red().to_string(),
        Some(CheckVerdict::Skip) => "-".dimmed().to_string(),
        None => "!".red().to_string(),
    };
    let words = grade_words(grade);
    let costs = format::visible_line(&grade_costs(grade))
        .dimmed()
        .to_string();
    sections.line(2, &format!("{sign} {name}: {words}  {costs}"));
    if let Some(explanation) = &grade.explanation {
        sections.named_text("", explanation);
    }
    if let Some(error) = &grade.error {
        let error = format!("{}: {}", failure::error_name(error), error.message);
        sections.named_text("", &error);
    }
    let log: Vec<_> = grade.log.iter().map(attempt_logs::grader_record).collect();
    sections.named_text("log", &log.join("\n"));
    sections.named_text("stdout", &grade.stdout);
    sections.named_text("stderr", &grade.stderr);
}
