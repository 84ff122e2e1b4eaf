//! Telling everybody of a run's end who has not been told yet.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use miette::miette;

use super::target::{Target, targets};
use crate::{
    error::{Error, ExitStatus},
    model::{Digest, Reason, RunStatus, chain},
    notify::{Delivery, Message, Telling, tell_all},
    record::{
        NotificationAttempt, NotificationLine, NotificationLog, NotificationStep, NotifiedEnding,
        RunEntry, RunReader, Store, notified,
    },
    scenario::{self, Notify},
    session::{Host, Notice, Observe, root_settings},
    view::{DocumentVersion, NotifiedTarget, NotifyReport, RunNotification},
};

/// For how long after a run's end others than its own process tell of it without being asked.
const LATEST: SignedDuration = SignedDuration::from_hours(24);

/// How long a process has after a run's end to begin to tell of it.
const OWN_TIME: Duration = Duration::from_secs(5);

/// How long others wait after an attempt.
const BETWEEN: Duration = Duration::from_secs(60);

/// After so many attempts the waits between them grow.
const EARLY_ATTEMPTS: u32 = 5;

/// Writes down that somebody is to be told of the end of a session, before it ends: so it is not forgotten whatever happens.
pub(in crate::session) fn expect_end(dir: &Path, session: u32, of_scenario: &Notify, host: &Host) {
    if everybody(dir, of_scenario).is_none_or(|notify| notify.is_empty()) {
        return;
    }
    let line = NotificationLine::new((host.now)(), session, NotificationStep::Pending);
    let written = NotificationLog::take(dir).and_then(|log| match log {
        Some(mut log) => log.append(&line),
        None => Ok(()),
    });
    if let Err(error) = written {
        tracing::warn!("cannot write down who is to be told of the end: {error}");
    }
}

/// Tells of the end of a session of this process, which is on disk; blocks for as long as its settings say, or until a
/// signal comes.
pub(in crate::session) fn tell_of_end(
    dir: &Path,
    of_scenario: &Notify,
    host: &Host,
    observe: &mut dyn Observe,
) {
    let Some(notify) = everybody(dir, of_scenario).filter(|notify| !notify.is_empty()) else {
        return;
    };
    let Ok(Some(run)) = RunEntry::in_directory(dir) else {
        return;
    };
    let is_over = Arc::new(AtomicBool::new(false));
    if let Some(signals) = &host.signals {
        let is_over = Arc::clone(&is_over);
        signals.listen(move |_| is_over.store(true, Ordering::Relaxed));
    }
    let asked = Asked {
        notify: &notify,
        which: Which::New,
        is_over: &|| is_over.load(Ordering::Relaxed),
    };
    match tell(&run, &asked, host) {
        Ok(Some(report)) => {
            for target in &report.targets {
                observe.notice(&Notice::Notified(target));
            }
        }
        // Somebody else tells it.
        Ok(None) => {}
        Err(error) => tracing::warn!("nobody is told of the end: {}", error.report),
    }
}

/// Tells of the end of a run whoever has not been told yet; with `again` everybody. Blocks for as long as its settings say.
///
/// # Errors
///
/// Fails if the run goes on, if somebody else tells of it now, or if it cannot be read.
pub fn notify_run(run: &RunEntry, again: bool, host: &Host) -> Result<NotifyReport, Error> {
    let usage = |message: &str, help: &str| {
        Error::usage(miette!(
            help = help.to_owned(),
            "run `{}` {message}",
            run.id
        ))
    };
    if run.status == RunStatus::Running {
        return Err(usage("is running", "its own process tells of its end"));
    }
    if run.is_not_yet_swept {
        return Err(usage(
            "has died, and its end is not written down yet",
            "`runner cleanup --no-dry-run` writes it down",
        ));
    }
    let notify = of_stored(run)?;
    let asked = Asked {
        notify: &notify,
        which: if again { Which::All } else { Which::New },
        is_over: &|| false,
    };
    tell(run, &asked, host)?.ok_or_else(|| Error {
        status: ExitStatus::Busy,
        report: miette!("another process tells of the end of run `{}` now", run.id),
    })
}

/// Tells of the ends of runs of which somebody has still to be told, and that are not long ago: those whose own process could
/// not, and those whose process has died. Whoever looks after a results root calls it once a minute, after a sweep.
///
/// # Errors
///
/// Fails if the results root cannot be read; that somebody cannot be told is in the answer.
pub fn notify_due(store: &Store, host: &Host) -> Result<Vec<NotifyReport>, Error> {
    let now = (host.now)();
    let mut reports = Vec::new();
    for run in &store.shared_runs().map_err(Error::record)?.runs {
        let is_recent = (run.completed_at).is_some_and(|end| now.duration_since(end) < LATEST);
        if !is_recent || run.status == RunStatus::Running || run.is_not_yet_swept {
            continue;
        }
        let lines = notified(&run.dir).unwrap_or_default();
        let is_expected = lines.iter().any(|line| line.session == run.sessions);
        if !is_expected && run.reason != Some(Reason::Crashed) {
            continue;
        }
        let Ok(notify) = of_stored(run) else {
            continue;
        };
        let asked = Asked {
            notify: &notify,
            which: Which::Due(now),
            is_over: &|| false,
        };
        let told = tell(run, &asked, host)?;
        reports.extend(told.filter(|report| !report.targets.is_empty()));
    }
    Ok(reports)
}

/// Tells of runs that have gone on for longer than somebody wants to hear of, once a session each. Whoever looks after a results
/// root calls it once a minute.
///
/// # Errors
///
/// Fails if the results root cannot be read; that somebody cannot be told is in the answer.
pub(in crate::session) fn notify_long(
    store: &Store,
    host: &Host,
) -> Result<Vec<NotifyReport>, Error> {
    let mut reports = Vec::new();
    for run in store.running().map_err(Error::record)? {
        let Ok(notify) = of_stored(&run) else {
            continue;
        };
        let asked = Asked {
            notify: &notify,
            which: Which::Due((host.now)()),
            is_over: &|| false,
        };
        let told = tell(&run, &asked, host)?;
        reports.extend(told.filter(|report| !report.targets.is_empty()));
    }
    Ok(reports)
}

/// Who is to be told by the settings of the results root around a run and by its scenario; `None` with a warning, where the
/// settings are wrong.
fn everybody(dir: &Path, of_scenario: &Notify) -> Option<Notify> {
    let root = dir.parent().unwrap_or(Path::new("."));
    match root_settings(root) {
        Ok(settings) => Some(settings.notify.and(of_scenario)),
        Err(error) => {
            tracing::warn!("nobody is told of the end: {}", error.report);
            None
        }
    }
}

/// The same by what is stored of a run.
fn of_stored(run: &RunEntry) -> Result<Notify, Error> {
    let root = run.dir.parent().unwrap_or(Path::new("."));
    let settings = root_settings(root)?;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let text = reader.scenario_text().map_err(Error::record)?;
    let path = Path::new(&reader.manifest().scenario.path);
    let scenario = scenario::parse_stored(path, &text).map_err(Error::usage)?;
    Ok(settings.notify.and(scenario.notify()))
}

/// Who is asked to be told, and for how long.
struct Asked<'a> {
    notify: &'a Notify,
    which: Which,
    is_over: &'a (dyn Fn() -> bool + Sync),
}

/// Which of them.
#[derive(Clone, Copy)]
enum Which {
    /// Everybody.
    All,
    /// Those who have not been told of this ending.
    New,
    /// Those of them who have not refused it, and have had time since the last attempt.
    Due(Timestamp),
}

/// Tells everybody who is meant; `None` while somebody else does.
fn tell(run: &RunEntry, asked: &Asked<'_>, host: &Host) -> Result<Option<NotifyReport>, Error> {
    let failed = |error: std::io::Error| Error::storage(miette!("{}", chain(&error)));
    let all = targets(asked.notify, run, host);
    let mut report = NotifyReport {
        v: DocumentVersion,
        run_dir: run.dir.clone(),
        targets: Vec::new(),
        already_told: all.len(),
    };
    if all.is_empty() {
        return Ok(Some(report));
    }
    let Some(mut log) = NotificationLog::take(&run.dir).map_err(failed)? else {
        return Ok(None);
    };
    let lines = notified(&run.dir).map_err(failed)?;
    let ending = ending_of(run);
    let is_meant = |target: &Target| is_meant(target, asked.which, &lines, run, ending);
    let meant: Vec<Target> = all.into_iter().filter(is_meant).collect();
    report.already_told -= meant.len();
    let mut kept = Ok(());
    let mut write = |target: &Target, told: &Delivery| {
        let line = line_of(target, told, run, ending, host);
        kept = std::mem::replace(&mut kept, Ok(())).and(log.append(&line));
    };
    report.targets = meant.iter().map(unanswered).collect();
    let (mut recipients, mut places) = (Vec::new(), Vec::new());
    for (place, target) in meant.iter().enumerate() {
        match &target.recipient {
            Ok(recipient) => {
                recipients.push((recipient.clone(), target.timeout));
                places.push(place);
            }
            Err(why) => {
                let told = Delivery::Failed(why.clone());
                write(target, &told);
                answered(&mut report.targets[place], told);
            }
        }
    }
    let body = body(run, host)?;
    let telling = Telling {
        message: &|place| Message {
            id: id_of(run, &meant[places[place]]),
            body: body.clone(),
        },
        until: Instant::now() + asked.notify.wait,
        is_over: asked.is_over,
        now: host.now,
    };
    tell_all(&recipients, &telling, |place, told| {
        write(&meant[places[place]], &told);
        answered(&mut report.targets[places[place]], told);
    });
    kept.map_err(failed)?;
    Ok(Some(report))
}

/// Tells whether somebody is one of those who are meant.
fn is_meant(
    target: &Target,
    which: Which,
    lines: &[NotificationLine],
    run: &RunEntry,
    ending: NotifiedEnding,
) -> bool {
    let of_target = || {
        let attempts = lines
            .iter()
            .filter_map(|line| Some((line, line.attempt()?)));
        attempts.filter(|(_, attempt)| attempt.target == target.key)
    };
    let is_delivered =
        |line: &NotificationLine| matches!(line.step, NotificationStep::Delivered(_));
    // A session that ends as the one before is no news; that one goes on for long is, and does not change what an end is.
    let is_long = ending.status == RunStatus::Running;
    let mut delivered = of_target().filter(|(line, attempt)| {
        let of_same = (attempt.ending.status == RunStatus::Running) == is_long;
        of_same && is_delivered(line) && (!is_long || line.session == run.sessions)
    });
    let last = delivered.next_back();
    let is_told = last.is_some_and(|(_, attempt)| attempt.ending == ending);
    match which {
        Which::All => true,
        Which::New => !is_told,
        Which::Due(now) => {
            let mut here = of_target().filter(|(line, _)| line.session == run.sessions);
            let is_refused =
                here.any(|(line, _)| matches!(line.step, NotificationStep::Refused(_)));
            let here = || of_target().filter(|(line, _)| line.session == run.sessions);
            let count = here().count() as u32;
            let wait = match count {
                0 => OWN_TIME,
                _ => BETWEEN * 2_u32.pow(count.saturating_sub(EARLY_ATTEMPTS).min(6)),
            };
            let last = here()
                .next_back()
                .map(|(line, _)| line.at)
                .or(run.completed_at);
            let age = last.map(|last| now.duration_since(last));
            let has_waited = age.is_none_or(|age| age.unsigned_abs() >= wait);
            !is_told && !is_refused && has_waited
        }
    }
}

fn ending_of(run: &RunEntry) -> NotifiedEnding {
    NotifiedEnding {
        status: run.status,
        reason: run.reason,
        verdict: run.verdict,
    }
}

fn line_of(
    target: &Target,
    told: &Delivery,
    run: &RunEntry,
    ending: NotifiedEnding,
    host: &Host,
) -> NotificationLine {
    let attempt = |answer: &str| NotificationAttempt {
        to: target.to.clone(),
        target: target.key.clone(),
        id: id_of(run, target),
        ending,
        answer: answer.to_owned(),
    };
    let step = match told {
        Delivery::Delivered(answer) => NotificationStep::Delivered(attempt(answer)),
        Delivery::Refused(answer) => NotificationStep::Refused(attempt(answer)),
        Delivery::Failed(answer) => NotificationStep::Failed(attempt(answer)),
    };
    NotificationLine::new((host.now)(), run.sessions, step)
}

/// The same for every attempt to tell somebody of the end of a session, or of its length, so that whoever hears it twice knows.
fn id_of(run: &RunEntry, target: &Target) -> String {
    let long = if run.status == RunStatus::Running {
        " running"
    } else {
        ""
    };
    let named = format!("{} {} {}{long}", run.id, run.sessions, target.key);
    format!("msg_{}", &Digest::of(named.as_bytes()).to_string()[..24])
}

fn body(run: &RunEntry, host: &Host) -> Result<Vec<u8>, Error> {
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let sessions = &reader.manifest().sessions;
    let error = sessions.last().and_then(|session| session.error.clone());
    let document = RunNotification::new(run, error, (host.now)());
    Ok(serde_json::to_vec(&document).expect("a document can be written as JSON"))
}

fn unanswered(target: &Target) -> NotifiedTarget {
    NotifiedTarget {
        to: target.to.clone(),
        result: "failed",
        answer: "there was no time for it".to_owned(),
        attempts: 0,
    }
}

fn answered(target: &mut NotifiedTarget, told: Delivery) {
    (target.result, target.answer) = match told {
        Delivery::Delivered(answer) => ("delivered", answer),
        Delivery::Refused(answer) => ("refused", answer),
        Delivery::Failed(answer) => ("failed", answer),
    };
    target.attempts += 1;
}
