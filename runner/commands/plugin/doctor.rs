//! `runner plugin doctor`.

use miette::miette;

use super::{
    super::Surroundings,
    languages::{language, on_path},
};
use crate::{
    cli::DoctorArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    session::plugins,
    toolchain::{self, Finding, Language},
    view::{DocumentVersion, ToolList, ToolState},
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
    let mut tools = Vec::new();
    for language in languages.filter(|language| only.is_none_or(|only| only == *language)) {
        let findings = toolchain::examine(language, &args.folder)
            .map_err(|error| plugins::unusable(&error))?;
        tools.extend(
            findings
                .into_iter()
                .map(|finding| state(finding, surroundings)),
        );
    }

    let list = ToolList {
        v: DocumentVersion,
        tools,
    };
    if args.json {
        output.document(&list);
    } else {
        output.text(&output::tools_text(&list, output.columns()));
    }
    let is_whole = list.tools.iter().all(|tool| tool.is_found);
    Ok(match only {
        Some(_) if !is_whole => ExitStatus::NotPassed,
        _ => ExitStatus::Success,
    })
}

fn state(finding: Finding, surroundings: &Surroundings) -> ToolState {
    let program = finding.program();
    ToolState {
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
