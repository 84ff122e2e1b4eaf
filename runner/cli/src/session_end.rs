//! The end of a session: its reports, the annotations of its CI job, and its notifications.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{iter::once, sync::Arc};

use runner_engine::{Ended, exit_of};
use runner_model::{exit::Exit, visible::shown_path};
use runner_operations::notify::{Deadline, RunNotifications, SendScope};
use runner_operations::{queue, settings::Settings};
use runner_record::{Manifest, Owned, RecordError, ResultsRoot, RunDir};
use runner_report::{Form, FormError, RowSelection as Rows, RunDocument, SentNotification, plan};

use crate::report_files::{ReportFile, report_options};
use crate::text::{CommandError, Out};
use crate::{args::SessionArgs, ci, commands::root::notify, detach};

/// Time that another process may take to send the notifications of a run.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the reports that the scenario and the flags request, calls `print` with the exit code of the process, annotates the CI
/// job, and notifies. Returns the exit code: a lost report replaces 0 and 1.
pub fn finish(
    mut ended: Ended,
    args: &SessionArgs,
    out: &Out,
    print: impl FnOnce(&Ended, Exit),
) -> Exit {
    let held = ended.held.take().and_then(Arc::into_inner);
    let Ended { manifest, run, swept, .. } = &ended;
    // Another program may have removed the run.
    let run = run.manifest().map(|_| run);
    let is_quiet = args.quiet || args.json;
    let is_background = detach::is_background();
    let of_scenario = run.iter().flat_map(|run| of_scenario(run, manifest));
    let files: Vec<_> = of_scenario.chain(args.reports().cloned()).collect();
    let mut manifest = manifest.clone();
    // A session that ran nothing may write the reports that the one before it has lost.
    let exit = match manifest.lost_report.take_if(|_| !files.is_empty()) {
        Some(_) => exit_of(&manifest),
        None => ended.exit,
    };
    let exit = args.exit(exit);
    // A signal that exits the process while they are written loses them, as the manifest shows until then.
    match run.as_ref().ok().filter(|_| !files.is_empty()) {
        None => runner_engine::keep_exit(exit, None),
        Some(run) => runner_engine::keep_exit(exit.without_output(), Some(loss(run, args))),
    }
    let (lost, document) = write(&run, held, &files, is_quiet || is_background, out);
    let exit = if lost.is_none() { exit } else { exit.without_output() };
    if lost.is_some() {
        manifest.lost_report = lost;
    }
    runner_engine::keep_exit(exit, None);
    print(&ended, exit);
    out.settle();
    let Ok(run) = run else { return exit };
    continue_preempted(&run.results_root(), out);
    if !args.no_ci && !is_background {
        annotate(run, document, ended.ran_nothing(), out);
    }
    // The processes of dead runs cannot send their notifications.
    let dead = swept.iter().filter_map(|id| {
        let dead = run.results_root().find_named(id).ok()?;
        let manifest = dead.truth().ok()?;
        Some((dead, manifest))
    });
    let ended: Vec<_> = once((run.clone(), manifest)).chain(dead).collect();
    notify(&ended, is_quiet, out);
    exit
}

/// Returns the message of a signal that ends the process while it writes reports.
fn loss(run: &RunDir, args: &SessionArgs) -> String {
    let words = args.report_words();
    let command = run.command("resume", &words.iter().map(String::as_str).collect::<Vec<_>>());
    format!("error: not all reports of run {} are written\nto write them: {command}", run.id())
}

/// Writes the reports of a merged run, annotates the CI job, and sends notifications. Returns whether no report is lost.
pub fn finish_merged(
    run: &RunDir,
    with_ci: bool,
    is_quiet: bool,
    out: &Out,
) -> Result<bool, CommandError> {
    let mut manifest = run.manifest()?;
    // The scenario of a foreign shard must name no files, and no receivers of notifications.
    let is_own = run.for_use().is_ok();
    let files: Vec<_> = of_scenario(run, &manifest).filter(|_| is_own).collect();
    let (lost, document) = write(&Ok(run), None, &files, is_quiet, out);
    let is_whole = lost.is_none();
    manifest.lost_report = lost;
    if with_ci {
        annotate(run, document, false, out);
    }
    if is_own {
        notify(&[(run.clone(), manifest)], is_quiet, out);
    }
    Ok(is_whole)
}

/// Sends the notifications of ended runs of a results root. Waits for them at most for the `wait` of each, until a stop signal.
/// `runner notify` and upkeep send those that are left.
pub fn notify(runs: &[(RunDir, Manifest)], is_quiet: bool, out: &Out) {
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
    let root = run.results_root();
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
    // `None` if another process is sending, which prints its results.
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

/// Reads a run for its reports, which takes seconds for a large one. From then on, a signal exits the process.
fn read(run: &RunDir) -> Result<RunDocument, RecordError> {
    runner_engine::exit_on_signal();
    RunDocument::read(&run.results_root(), run, &Rows::All)
}

/// Continues runs that were paused for requests whose runs have ended: a server or `queue work` may no longer run.
pub fn continue_preempted(root: &ResultsRoot, out: &Out) {
    if let Err(error) = queue::continue_preempted(root) {
        out.warn(&format!("runs that were paused for a request stay paused: {error}"));
    }
}

/// Writes the reports of a run, which this process may hold already, and records in its manifest whether they are written. Returns
/// the reports that are lost, with the causes, and the run if it was read.
fn write(
    run: &Result<&RunDir, RecordError>,
    held: Option<Owned>,
    files: &[ReportFile],
    is_quiet: bool,
    out: &Out,
) -> (Option<String>, Option<RunDocument>) {
    if files.is_empty() && held.is_none() {
        return (None, None);
    }
    // While the run is held, `wait` does not return. A process that continues the run already records its own reports.
    let claim = || run.as_ref().ok().and_then(|run| run.results_root().claim(run).ok());
    let held = held.or_else(claim);
    let (lost, document) = write_files(run, files, is_quiet, out);
    let lost = (!lost.is_empty()).then(|| lost.join("; "));
    if let Some(Err(error)) = held.map(|held| Owned::finish_reports(held, lost.clone())) {
        out.warn(&format!("the manifest does not show whether reports are lost: {error}"));
    }
    (lost, document)
}

/// Writes files. Returns the problems of those that are lost, and the run if it was read.
fn write_files(
    run: &Result<&RunDir, RecordError>,
    files: &[ReportFile],
    is_quiet: bool,
    out: &Out,
) -> (Vec<String>, Option<RunDocument>) {
    let document = run.as_ref().map_err(ToString::to_string);
    let document = document.and_then(|run| read(run).map_err(|error| error.to_string()));
    let document = match document {
        Ok(document) => document,
        Err(error) => {
            let error = CommandError::new(Exit::Storage, format!("no report is written: {error}"));
            out.talk(error.text());
            return (vec![error.message()], None);
        }
    };
    let mut lost = Vec::new();
    for file in files {
        match file.write(&document, report_options(false)) {
            Ok(()) if is_quiet => {}
            Ok(()) => out.hint(&format!("report: {}", shown_path(&file.path))),
            Err(error) => {
                out.talk(error.text());
                lost.push(error.message());
            }
        }
    }
    (lost, Some(document))
}

/// Annotates the CI job, if this process runs in one, after a session that may have run nothing. A failure is only a warning: the
/// run has its results.
fn annotate(run: &RunDir, document: Option<RunDocument>, ran_nothing: bool, out: &Out) {
    let Some(ci) = ci::System::of_environment() else { return };
    let read = document.map_or_else(|| read(run).map_err(FormError::Record), Ok);
    if let Err(error) = read.and_then(|document| ci.write(&document, ran_nothing, out)) {
        out.warn(&format!("cannot annotate the CI job: {error}"));
    }
}

/// Returns the files of `[report]`, which are in the run's folder.
fn of_scenario(run: &RunDir, manifest: &Manifest) -> impl Iterator<Item = ReportFile> {
    let names = plan::scenario(run, manifest).map(|scenario| scenario.reports).unwrap_or_default();
    let directory = run.path();
    names.into_iter().filter_map(move |name| {
        let path = directory.join(name);
        Some(ReportFile { form: Form::of_path(&path)?, path })
    })
}
