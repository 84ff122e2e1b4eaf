//! `runner plugin doctor`.

use miette::miette;

use super::{super::Surroundings, language, on_path};
use crate::{
    cli::DoctorArgs,
    commands::plugins,
    error::{Error, ExitStatus},
    output::{self, Output, ToolLine},
    plugin::source::{self, Finding, Language},
};

/// Shows which tools are here.
pub(super) fn doctor(
    args: &DoctorArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    if !args.folder.is_dir() {
        return Err(Error::usage(miette!(
            "`{}` is no folder",
            args.folder.display()
        )));
    }
    let only = args.language.map(language);
    let languages = Language::ALL.into_iter();
    let mut lines = Vec::new();
    for language in languages.filter(|language| only.is_none_or(|only| only == *language)) {
        let findings =
            source::examine(language, &args.folder).map_err(|error| plugins::unusable(&error))?;
        lines.extend(
            findings
                .into_iter()
                .map(|finding| line(finding, surroundings)),
        );
    }

    if args.json {
        output.data(&output::tools_json(&lines));
    } else {
        output.text(&output::tools_text(&lines, output.columns()));
    }
    let is_whole = lines.iter().all(|line| line.is_found);
    Ok(match only {
        Some(_) if !is_whole => ExitStatus::NotPassed,
        _ => ExitStatus::Success,
    })
}

fn line(finding: Finding, surroundings: &Surroundings) -> ToolLine {
    let program = finding.program();
    ToolLine {
        language: finding.language.name(),
        tool: finding.tool,
        is_found: finding.found.is_some(),
        path: program.map(|program| {
            on_path(program, &surroundings.host.search_path).unwrap_or_else(|| program.into())
        }),
        version: finding.found.map(|found| found.version),
        install: finding.install,
    }
}
