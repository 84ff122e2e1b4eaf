//! `compare`: what has changed between two runs.

use owo_colors::OwoColorize as _;

use super::{
    format,
    table::{Cell, Column, Table},
    tone::Tone,
};
use crate::view::{CaseClass, Compared, ComparedCase, ComparedProvider, ComparedRun, Comparison};

/// How many tests of each class are told.
const MAX_CASES: usize = 10;
/// How many differences of how the sides came about.
const MAX_PARTS: usize = 20;

/// What has changed, for people: on a screen of so many characters, if there is one.
pub fn comparison_text(compared: &Compared, width: Option<usize>) -> String {
    let groups = match compared {
        Compared::Runs(comparison) => return run_text(comparison, width),
        Compared::Groups(groups) => groups,
    };
    let mut parts = Vec::new();
    for (place, run) in (1..).zip(&groups.runs) {
        let scenario = format::visible_line(&run.new.scenario);
        let title = format!("{place}/{} {scenario}", groups.runs.len());
        parts.push(format!("{}\n\n{}", title.bold(), run_text(run, width)));
    }
    let unshared = groups.unshared();
    parts.extend(unshared.iter().map(|words| format::visible_line(words)));
    let (base, new) = (&groups.base, &groups.new);
    let words = groups.counts.words();
    parts.push(format!(
        "group {new} against group {base}: {}",
        words.bold()
    ));
    parts.join("\n\n")
}

fn run_text(comparison: &Comparison, width: Option<usize>) -> String {
    let mut parts = vec![sides(comparison, width)];
    parts.extend(comparison.filter.as_ref().map(|filter| {
        let filter = format::visible_line(filter);
        format!("only tests of which `{filter}` means a trial")
    }));
    let warnings = comparison.warnings.iter().map(|warning| {
        let text = format::visible_line(&warning.text);
        format!("{} {text}", "not quite fair:".yellow())
    });
    let warnings: Vec<_> = warnings.collect();
    if !warnings.is_empty() {
        parts.push(warnings.join("\n"));
    }
    parts.push(format!("{}", comparison.counts.words().bold()));
    parts.extend(
        comparison
            .providers
            .iter()
            .filter_map(|provider| measures(provider, comparison.providers.len() > 1, width)),
    );
    let classes = CaseClass::ALL.into_iter();
    parts.extend(classes.filter_map(|class| cases(comparison, class, width)));
    parts.extend(differences(comparison, width));
    parts.join("\n\n")
}

fn sides<'a>(comparison: &'a Comparison, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new(""),
        Column::new("run").cut(3, 12),
        Column::new("scenario").cut(1, 8).go(2),
        Column::new("provider").go(4),
        Column::new("status").go(5),
        Column::new("passed").right(),
    ]);
    let mut row = |name: &'static str, run: &'a ComparedRun| {
        let counts = &run.counts;
        table.row([
            name.into(),
            run.run.as_str().into(),
            run.scenario.as_str().into(),
            run.provider
                .clone()
                .unwrap_or_else(|| "all".to_owned())
                .into(),
            run.standing().into(),
            format!(
                "{}/{}",
                format::count(counts.passed),
                format::count(counts.planned)
            )
            .into(),
        ]);
    };
    row("base", &comparison.base);
    row("new", &comparison.new);
    table.fitted(width)
}

/// What a provider's trials measured; nothing if it is on one side alone.
fn measures(
    provider: &ComparedProvider,
    is_one_of_several: bool,
    width: Option<usize>,
) -> Option<String> {
    if provider.measures.is_empty() {
        return None;
    }
    let name = format::visible_line(&provider.provider);
    let title = match &provider.base_provider {
        Some(base) => format!("{} → {name}", format::visible_line(base)),
        None => name,
    };
    let mut table = Table::new([
        Column::new(title).cut(4, 8),
        Column::new("base").right().go(2),
        Column::new("new").right().go(3),
        Column::new("change").right(),
        Column::new("95 %").right(),
        Column::new("p").right().go(1),
        Column::new("tests").right().go(0),
    ]);
    for measure in &provider.measures {
        let words = measure.words();
        let tone = match (measure.is_significant, measure.is_worse()) {
            (true, Some(true)) => Tone::Bad,
            (true, Some(false)) => Tone::Good,
            (true, None) => Tone::Open,
            (false, _) => Tone::Plain,
        };
        table.row([
            words.name.into(),
            words.base.into(),
            words.new.into(),
            Cell::new(words.change).painted(tone),
            words.interval.into(),
            Cell::new(words.p).painted(tone),
            format::count(measure.tests).into(),
        ]);
    }
    let counts = match is_one_of_several {
        true => format!("\n{}", provider.counts.words()),
        false => String::new(),
    };
    Some(table.fitted(width) + &counts)
}

fn cases(comparison: &Comparison, class: CaseClass, width: Option<usize>) -> Option<String> {
    let all = comparison.counts.of(class);
    let mut table = Table::new([
        Column::new(class.words()).cut(2, 20),
        Column::new("").cut(3, 10),
        Column::new("").cut(0, 12).go(1),
    ]);
    let mut shown = 0;
    for case in comparison.of_class(class).take(MAX_CASES) {
        table.row(case_cells(case));
        shown += 1;
    }
    if shown == 0 {
        return None;
    }
    let more = match all - shown {
        0 => String::new(),
        more => format!("\n… and {} more", format::count(more)),
    };
    Some(table.fitted(width) + &more)
}

fn case_cells(case: &ComparedCase) -> Vec<Cell<'_>> {
    let tone = match case.class {
        CaseClass::Regressed => Tone::Bad,
        CaseClass::Fixed => Tone::Good,
        CaseClass::Flaky => Tone::Open,
        _ => Tone::Plain,
    };
    vec![
        case.name().into(),
        Cell::new(case.change()).painted(tone),
        case.why.clone().unwrap_or_default().into(),
    ]
}

fn differences(comparison: &Comparison, width: Option<usize>) -> Option<String> {
    let parts = &comparison.differences;
    if parts.is_empty() {
        return None;
    }
    let mut table = Table::new([
        Column::new("different").cut(1, 16),
        Column::new("base").cut(0, 12),
        Column::new("new").cut(0, 12),
    ]);
    let text = |part: &Option<String>| Cell::new(part.clone().unwrap_or_else(|| "–".to_owned()));
    for part in parts.iter().take(MAX_PARTS) {
        table.row([part.what.as_str().into(), text(&part.base), text(&part.new)]);
    }
    let more = match parts.len().saturating_sub(MAX_PARTS) {
        0 => String::new(),
        more => format!("\n… and {more} more"),
    };
    Some(table.fitted(width) + &more)
}
