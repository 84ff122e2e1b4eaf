//! The end of a session: its reports, and the annotations of its CI job.

use std::path::Path;

use runner_engine::Ended;
use runner_model::visible::shown_path;
use runner_record::{RecordError, ResultsRoot, RunDir};
use runner_report::{Form, FormOptions, RunDocument, Which};
use runner_scenario::parse_stored;

use crate::args::SessionArgs;
use crate::report_files::ReportFile;
use crate::text::Out;
use crate::{ci, detach};

/// Writes the reports that the scenario and the flags request, and annotates the CI job. A failure is only a warning: the run has
/// its results.
pub fn finish(ended: &Ended, args: &SessionArgs, out: &Out) {
    if let Err(error) = write_all(ended, args, out) {
        out.warn(&format!("no report is written: {error}"));
    }
}

fn write_all(ended: &Ended, args: &SessionArgs, out: &Out) -> Result<(), RecordError> {
    let root = ResultsRoot::existing(ended.directory.parent().unwrap_or(Path::new(".")))?;
    let run = root.find(&ended.manifest.id)?;
    let ci = ci::System::of_environment().filter(|_| !args.no_ci && !detach::is_background());
    let mut files = of_scenario(&run, ended);
    files.extend(args.reports().cloned());
    if files.is_empty() && ci.is_none() {
        return Ok(());
    }
    // A report of a large run takes seconds.
    runner_engine::exit_on_signal();
    let document = RunDocument::read(&root, &run, &Which::All)?;
    for file in files {
        match file.write(&document, FormOptions::default()) {
            Ok(()) if args.quiet || args.json || detach::is_background() => {}
            Ok(()) => out.hint(&format!("report: {}", shown_path(&file.path))),
            Err(error) => out.warn(&error.message()),
        }
    }
    if let Some(Err(error)) = ci.map(|ci| ci.write(&document, out)) {
        out.warn(&format!("cannot annotate the CI job: {error}"));
    }
    Ok(())
}

/// Returns the files of `[report]`, which are in the run's folder.
fn of_scenario(run: &RunDir, Ended { manifest, directory, .. }: &Ended) -> Vec<ReportFile> {
    let text = run.scenario(manifest).unwrap_or_default();
    let vars = &manifest.metadata.selection.overrides.vars;
    let scenario = parse_stored(&text, &manifest.scenario, vars);
    let names = scenario.map(|scenario| scenario.reports).unwrap_or_default();
    let file = |name: String| {
        let path = directory.join(name);
        Some(ReportFile { form: Form::of_path(&path)?, path })
    };
    names.into_iter().filter_map(file).collect()
}
