//! The end of a session: its reports, the annotations of its CI job, and its notifications.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runner_engine::Ended;
use runner_model::visible::shown_path;
use runner_operations::notify::{Deadline, RunNotifications, SendScope};
use runner_operations::settings::Settings;
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_report::{Form, FormOptions, RowSelection as Rows, RunDocument, SentNotification};
use runner_scenario::parse_stored;

use crate::args::SessionArgs;
use crate::commands::results::notify;
use crate::report_files::ReportFile;
use crate::text::{CommandError, Out};
use crate::{ci, detach};

/// Time that another process may take to send the notifications of a run.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the reports that the scenario and the flags request, annotates the CI job, and notifies. A failure is only a warning:
/// the run has its results.
pub fn finish(ended: &Ended, args: &SessionArgs, out: &Out) {
    let Ended { manifest, directory, swept, .. } = ended;
    let root = ResultsRoot::existing(directory.parent().unwrap_or(Path::new(".")));
    let run = root.and_then(|root| root.find(&manifest.id));
    let is_quiet = args.quiet || args.json;
    let written = run.as_ref().map_err(ToString::to_string).and_then(|run| {
        let ci = ci_system(!args.no_ci && !detach::is_background());
        let files = of_scenario(run, manifest).chain(args.reports().cloned()).collect();
        let is_quiet = is_quiet || detach::is_background();
        let ci = ci.map(|ci| (ci, ended.ran_nothing()));
        write(run, files, ci, is_quiet, out).map_err(|error| error.to_string())
    });
    warn_of(written, out);
    let Ok(run) = run else { return };
    // The processes of dead runs cannot send their notifications.
    let dead = swept.iter().filter_map(|id| {
        let dead = run.results_root().ok()?.find_named(id).ok()?;
        let manifest = dead.truth().ok()?;
        Some((dead, manifest))
    });
    let dead: Vec<_> = dead.collect();
    let dead = dead.iter().map(|(run, manifest)| (run.clone(), manifest));
    notify(&[(run, manifest)].into_iter().chain(dead).collect::<Vec<_>>(), is_quiet, out);
}

/// Writes the reports of a merged run, annotates the CI job, and sends notifications.
pub fn finish_merged(run: &RunDir, with_ci: bool, is_quiet: bool, out: &Out) {
    let written = run.manifest().and_then(|manifest| {
        let files = of_scenario(run, &manifest).collect();
        write(run, files, ci_system(with_ci).map(|ci| (ci, false)), is_quiet, out)?;
        notify(&[(run.clone(), &manifest)], is_quiet, out);
        Ok(())
    });
    warn_of(written.map_err(|error| error.to_string()), out);
}

/// Sends the notifications of ended runs of a results root. Waits for them at most for the `wait` of each, until a stop signal.
/// `runner notify` and upkeep send those that are left.
pub fn notify(runs: &[(RunDir, &Manifest)], is_quiet: bool, out: &Out) {
    let is_over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    for (run, manifest) in runs {
        if let Err(error) = notify_of(run, manifest, start, &is_over, is_quiet, out) {
            out.warn(&format!("no notification is sent: {}", error.message()));
        }
    }
}

fn notify_of(
    run: &RunDir,
    manifest: &Manifest,
    start: Instant,
    is_over: &Arc<AtomicBool>,
    is_quiet: bool,
    out: &Out,
) -> Result<(), CommandError> {
    let root = run.results_root()?;
    let settings = Settings::read(&root)?;
    let notifications = RunNotifications::new(&root, &settings, run, manifest);
    if notifications.left(SendScope::All)?.is_empty() {
        return Ok(());
    }
    let flag = Arc::clone(is_over);
    let _guard = runner_engine::on_stop(move |_, _| flag.store(true, Ordering::Relaxed));
    let deadline = Deadline {
        until: Some(start + notifications.wait()),
        is_over: &|| is_over.load(Ordering::Relaxed),
    };
    // Another process prints its results.
    let sent = notifications.send(SendScope::All, PATIENCE, &deadline)?.unwrap_or_default();
    for sent in &sent {
        match sent.is_delivered() {
            true if is_quiet => {}
            true => out.hint(&notify::text(sent)),
            false => out.warn(&notify::text(sent)),
        }
    }
    if !sent.iter().all(SentNotification::is_delivered) {
        out.hint(&format!("to try again: {}", run.command("notify", &[])));
    }
    Ok(())
}

/// Returns the CI system that runs this process. `None` unless `is_enabled`.
fn ci_system(is_enabled: bool) -> Option<ci::System> {
    ci::System::of_environment().filter(|_| is_enabled)
}

fn warn_of(written: Result<(), String>, out: &Out) {
    if let Err(error) = written {
        out.warn(&format!("no report is written: {error}"));
    }
}

/// Writes reports, and annotates a CI job after a session that may have run nothing.
fn write(
    run: &RunDir,
    files: Vec<ReportFile>,
    ci: Option<(ci::System, bool)>,
    is_quiet: bool,
    out: &Out,
) -> Result<(), RecordError> {
    if files.is_empty() && ci.is_none() {
        return Ok(());
    }
    // A report of a large run takes seconds.
    runner_engine::exit_on_signal();
    let document = RunDocument::read(&run.results_root()?, run, &Rows::All)?;
    for file in files {
        match file.write(&document, FormOptions::default()) {
            Ok(()) if is_quiet => {}
            Ok(()) => out.hint(&format!("report: {}", shown_path(&file.path))),
            Err(error) => out.warn(&error.message()),
        }
    }
    if let Some(Err(error)) = ci.map(|(ci, ran_nothing)| ci.write(&document, ran_nothing, out)) {
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
