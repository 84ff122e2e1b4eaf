//! The end of a session: its reports, and the annotations of its CI job.

use std::path::Path;

use runner_engine::Ended;
use runner_model::visible::shown_path;
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_report::{Form, FormOptions, RunDocument, Which};
use runner_scenario::parse_stored;

use crate::args::SessionArgs;
use crate::report_files::ReportFile;
use crate::text::Out;
use crate::{ci, detach};

/// Writes the reports that the scenario and the flags request, and annotates the CI job. A failure is only a warning: the run has
/// its results.
pub fn finish(Ended { manifest, directory, .. }: &Ended, args: &SessionArgs, out: &Out) {
    let root = ResultsRoot::existing(directory.parent().unwrap_or(Path::new(".")));
    let written = root.and_then(|root| root.find(&manifest.id)).and_then(|run| {
        let ci = ci::System::of_environment().filter(|_| !args.no_ci && !detach::is_background());
        let files = of_scenario(&run, manifest).chain(args.reports().cloned()).collect();
        let is_quiet = args.quiet || args.json || detach::is_background();
        write(&run, files, ci, is_quiet, out)
    });
    warn_of(written, out);
}

/// Writes the reports that the scenario of a merged run requests.
pub fn finish_merged(run: &RunDir, is_quiet: bool, out: &Out) {
    let written = run.manifest().and_then(|manifest| {
        write(run, of_scenario(run, &manifest).collect(), None, is_quiet, out)
    });
    warn_of(written, out);
}

fn warn_of(written: Result<(), RecordError>, out: &Out) {
    if let Err(error) = written {
        out.warn(&format!("no report is written: {error}"));
    }
}

fn write(
    run: &RunDir,
    files: Vec<ReportFile>,
    ci: Option<ci::System>,
    is_quiet: bool,
    out: &Out,
) -> Result<(), RecordError> {
    if files.is_empty() && ci.is_none() {
        return Ok(());
    }
    // A report of a large run takes seconds.
    runner_engine::exit_on_signal();
    let document = RunDocument::read(&run.results_root()?, run, &Which::All)?;
    for file in files {
        match file.write(&document, FormOptions::default()) {
            Ok(()) if is_quiet => {}
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
fn of_scenario(run: &RunDir, manifest: &Manifest) -> impl Iterator<Item = ReportFile> {
    let text = run.scenario(manifest).unwrap_or_default();
    let vars = &manifest.metadata.selection.overrides.vars;
    let scenario = parse_stored(&text, &manifest.scenario, vars);
    let names = scenario.map(|scenario| scenario.reports).unwrap_or_default();
    let directory = run.path();
    names.into_iter().filter_map(move |name| {
        let path = directory.join(name);
        Some(ReportFile { form: Form::of_path(&path)?, path })
    })
}
