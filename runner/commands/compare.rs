//! `runner compare`.

use miette::miette;

use super::{Context, naming::Named};
use crate::{
    cli::{CompareArgs, FailOnArg},
    error::{Error, ExitStatus},
    output,
    report::{self, ComparisonFormat},
    session::{self, CompareNamed, Store},
};

/// Compares two runs, or two providers of one.
pub(super) fn compare(args: &CompareArgs, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let format = format(args)?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = |run: Option<&str>| Named::or_latest(run, context).runs(&store);
    let base = named(args.base.as_deref())?;
    let new = match (&args.new, &args.provider[..]) {
        // Two providers of the one run that is named.
        (None, [_, _]) => base.clone(),
        (run, _) => named(run.as_deref())?,
    };
    let providers = match &args.provider[..] {
        [first, second] => Some((first.clone(), second.clone())),
        _ => None,
    };
    let asked = CompareNamed {
        base,
        new,
        providers,
        filter: args.filter.parse()?,
    };
    let screen = output.clone();
    let comparison = session::compare_named(&asked, move |error: &dyn std::error::Error| {
        screen.warn(&error.to_string());
    })?;
    match (args.output.as_deref(), format) {
        (_, None) => output.show(&output::comparison_text(&comparison, output.columns())),
        (None, Some(ComparisonFormat::Json)) => output.document(&comparison),
        (file, Some(format)) => {
            context.write_out(file, |to| report::write_comparison(&comparison, format, to))?;
        }
    }
    let fails = |what: &FailOnArg| match what {
        FailOnArg::Regression => comparison.counts().regressed > 0,
        FailOnArg::Significant => comparison.is_significantly_worse(),
    };
    match args.fail_on.iter().any(fails) {
        true => Ok(ExitStatus::NotPassed),
        false => Ok(ExitStatus::Success),
    }
}

/// The form that a flag names, or else the name of the file; `None` for the screen.
fn format(args: &CompareArgs) -> Result<Option<ComparisonFormat>, Error> {
    let form = args.form;
    let flagged = [
        (form.json, ComparisonFormat::Json),
        (form.markdown, ComparisonFormat::Markdown),
        (form.html, ComparisonFormat::Html),
    ];
    if let Some((_, format)) = flagged.into_iter().find(|(is_set, _)| *is_set) {
        return Ok(Some(format));
    }
    let Some(file) = &args.output else {
        return Ok(None);
    };
    ComparisonFormat::of_file(file).map(Some).ok_or_else(|| {
        Error::usage(miette!(
            help = "name it `.json`, `.md` or `.html`, or add `--json`, `--markdown` or `--html`",
            "the name of `{}` does not tell the form of the comparison",
            file.display()
        ))
    })
}
