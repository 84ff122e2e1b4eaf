//! A comment of a pull request: what has changed, and the tests folded.

use std::io::{self, Write};

use super::told::TOLD;
use crate::{
    report::markdown::cell,
    view::{
        CaseClass, CaseCounts, Compared, ComparedCase, ComparedProvider, ComparedRun, Comparison,
    },
};

/// How many tests of each class it tells of.
const MAX_CASES: usize = 20;
/// How many differences of how the sides came about.
const MAX_PARTS: usize = 40;

pub(super) fn write(compared: &Compared, to: &mut dyn Write) -> io::Result<()> {
    let groups = match compared {
        Compared::Runs(comparison) => return run(comparison, to),
        Compared::Groups(groups) => groups,
    };
    let counts = groups.counts;
    writeln!(to, "## {} {}\n", sign(counts), counts.words())?;
    writeln!(to, "Group `{}` against `{}`\n", groups.new, groups.base)?;
    for words in groups.unshared() {
        writeln!(to, "> ⚠️ {}\n", cell(&words))?;
    }
    groups
        .runs
        .iter()
        .try_for_each(|comparison| run(comparison, to))
}

fn sign(counts: CaseCounts) -> &'static str {
    match (counts.regressed, counts.fixed) {
        (0, 0) => "⚪",
        (0, _) => "✅",
        _ => "❌",
    }
}

fn run(comparison: &Comparison, to: &mut dyn Write) -> io::Result<()> {
    let counts = comparison.counts;
    let sign = sign(counts);
    let name = cell(&comparison.new.scenario);
    writeln!(to, "### {sign} {name}: {}\n", counts.words())?;
    for warning in &comparison.warnings {
        writeln!(to, "> ⚠️ {}\n", cell(&warning.text))?;
    }
    writeln!(
        to,
        "{} against {}\n",
        side(&comparison.new),
        side(&comparison.base)
    )?;
    if let Some(filter) = &comparison.filter {
        writeln!(
            to,
            "Only tests of which `{}` means a trial.\n",
            cell(filter)
        )?;
    }
    measures(&comparison.providers, to)?;
    let mut regressed = comparison.of_class(CaseClass::Regressed).peekable();
    if regressed.peek().is_some() {
        cases("Regressed", regressed, to)?;
    }
    let others = TOLD
        .into_iter()
        .filter(|class| *class != CaseClass::Regressed);
    let others: Vec<_> = others
        .filter(|class| comparison.of_class(*class).next().is_some())
        .collect();
    if !others.is_empty() {
        writeln!(
            to,
            "<details>\n<summary>All other tests that did not just pass</summary>\n"
        )?;
        for class in others {
            let words = class.words();
            let title = format!("{}{}", words[..1].to_uppercase(), &words[1..]);
            cases(&title, comparison.of_class(class), to)?;
        }
        writeln!(to, "</details>\n")?;
    }
    differences(comparison, to)
}

fn side(run: &ComparedRun) -> String {
    let provider = run.provider.as_ref();
    let provider = provider.map_or_else(String::new, |name| format!("{} of ", cell(name)));
    format!("{provider}`{}` ({})", run.run, run.standing())
}

fn measures(providers: &[ComparedProvider], to: &mut dyn Write) -> io::Result<()> {
    if providers
        .iter()
        .all(|provider| provider.measures.is_empty())
    {
        return Ok(());
    }
    writeln!(
        to,
        "| provider | | base | new | change | 95 % | p | tests |"
    )?;
    writeln!(to, "| --- | --- | --: | --: | --: | --: | --: | --: |")?;
    for provider in providers {
        for measure in &provider.measures {
            let words = measure.words();
            let strong = if measure.is_significant { "**" } else { "" };
            writeln!(
                to,
                "| {} | {} | {} | {} | {strong}{}{strong} | {} | {} | {} |",
                cell(&provider.provider),
                cell(&words.name),
                words.base,
                words.new,
                words.change,
                words.interval,
                // It is a mark of HTML otherwise.
                words.p.replace('<', "&lt;"),
                measure.tests
            )?;
        }
    }
    writeln!(to)
}

fn cases<'a>(
    title: &str,
    cases: impl Iterator<Item = &'a ComparedCase>,
    to: &mut dyn Write,
) -> io::Result<()> {
    writeln!(to, "**{title}**\n")?;
    let mut left = 0_u64;
    for (place, case) in cases.enumerate() {
        if place >= MAX_CASES {
            left += 1;
            continue;
        }
        let why = match &case.why {
            Some(why) if case.class != CaseClass::Flaky => format!(" · {}", cell(why)),
            _ => String::new(),
        };
        writeln!(to, "* {}: {}{why}", cell(&case.name()), case.change())?;
    }
    if left > 0 {
        writeln!(to, "* … and {}", format_args!("{left} more"))?;
    }
    writeln!(to)
}

fn differences(comparison: &Comparison, to: &mut dyn Write) -> io::Result<()> {
    let parts = &comparison.differences;
    if parts.is_empty() {
        return Ok(());
    }
    writeln!(to, "<details>\n<summary>What else is different</summary>\n")?;
    writeln!(to, "| | base | new |\n| --- | --- | --- |")?;
    let text = |part: &Option<String>| {
        part.as_ref()
            .map_or_else(|| "–".to_owned(), |part| cell(part))
    };
    for part in parts.iter().take(MAX_PARTS) {
        let (base, new) = (text(&part.base), text(&part.new));
        writeln!(to, "| {} | {base} | {new} |", cell(&part.what))?;
    }
    if parts.len() > MAX_PARTS {
        writeln!(to, "| … and {} more | | |", parts.len() - MAX_PARTS)?;
    }
    writeln!(to, "\n</details>")
}
