use std::time::Duration;

use runner_model::{
    Fingerprint, HostFault, Limits, Micros, Outcome, RowRef, Tail, TaskId, TrialId, WorkerId,
    digest,
    protocol::{Recorded, ReportHead, Task, TaskKind, TimeoutRule},
    row::Calls,
    transcript::MAX_HEAD,
    workspace::MAX_CHANGE_BYTES,
};

use super::{InFlightTask, LostReason, Policy, StoredRow};

fn flight() -> InFlightTask {
    InFlightTask {
        trial: 0,
        worker: WorkerId(1),
        task: Task {
            attempt: 3,
            timeout_rule: TimeoutRule::TrialTimeout,
            ..Task::new(TaskId(7), TrialId::parse("a/b@p#2").unwrap(), Micros(1), 0)
        },
        policy: Policy::default(),
        base: None,
        held: Vec::new(),
        stored: None,
        attempt: 3,
        graders: Vec::new(),
        judges_partial: false,
        execution: Fingerprint([1; 16]),
        judgement: Fingerprint([2; 16]),
        drafts: std::collections::HashMap::new(),
        entry: Vec::new(),
        is_recorded: false,
        step: None,
        output: None,
        bytes: 0,
        lost: None,
    }
}

/// Returns a row of the task with more keys.
fn row(more: &str) -> Vec<u8> {
    let row = flight().row(LostReason::Lost, [Duration::ZERO; 2], "died", None);
    let row = String::from_utf8(row).unwrap();
    row.replace("\"usage\":", &format!("{more}\"usage\":")).into_bytes()
}

fn head(row: &[u8], log: &[u8]) -> ReportHead {
    ReportHead {
        task: TaskId(7),
        row_bytes: row.len() as u32,
        log_bytes: log.len() as u32,
        host_fault: None,
    }
}

/// Checks a report and returns its fault.
fn problem(flight: &mut InFlightTask, row: &[u8], log: &[u8]) -> Option<String> {
    let body = [row, log].concat();
    let checked = flight.check(&head(row, log), &body, &Limits::default(), 1);
    checked.err()
}

#[test]
fn lost_attempts_get_rows() {
    for (reason, outcome, code) in [
        (LostReason::Lost, Outcome::Stopped, "lost"),
        (LostReason::Stopped, Outcome::Stopped, "stopped"),
        (LostReason::Stuck, Outcome::Timeout, "trial_timeout"),
        (LostReason::Crash, Outcome::Error, "crash"),
    ] {
        let took = [5, 7].map(Duration::from_millis);
        let row = flight().row(reason, took, "was ended by signal 9", None);
        let read: RowRef<'_> = serde_json::from_slice(&row).unwrap();
        assert_eq!((read.outcome, read.attempt), (outcome, 3));
        assert_eq!(read.trial.to_string(), "a/b@p#2");
        assert_eq!(&*read.error.unwrap().code, code);
        assert_eq!((read.duration_ms, read.suspended_ms), (5.0, 7.0));
    }
}

#[test]
fn reports_are_checked_before_they_become_rows() {
    assert_eq!(problem(&mut flight(), &row(""), b""), None);
    assert_eq!(problem(&mut flight(), &row(""), b"{\"stderr\":\"x\"}"), None);
    for (row, log, expected) in [
        (row("\"seq\":1,"), &b""[..], "key of the coordinator"),
        (row("\"x\":1,"), b"", "not a row"),
        (row(""), b"{\"x\":1}", "not a log"),
        (row(""), b"{}\n{}", "one object on one line"),
    ] {
        let problem = problem(&mut flight(), &row, log).unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
    let (mut other, row) = (flight(), row(""));
    other.task.attempt = 4;
    assert!(problem(&mut other, &row, b"").is_some());
    // Only stopped attempts can have a host fault.
    let passed = String::from_utf8(row).unwrap();
    let passed = passed.replace("\"outcome\":\"stopped\"", "\"outcome\":\"passed\"");
    let mut head = head(passed.as_bytes(), b"");
    head.host_fault = Some(HostFault::Memory);
    assert!(flight().check(&head, passed.as_bytes(), &Limits::default(), 1).is_err());
}

#[test]
fn calls_of_a_row_are_those_that_were_recorded() {
    let calls = |count| Calls { count, sha256: digest(b"") };
    let with = |outcome: &str, code: &str, own: Option<u32>| {
        let own = own.map_or_else(String::new, |count| {
            format!("\"calls\":{{\"count\":{count},\"sha256\":\"{}\"}},", digest(b""))
        });
        let row = String::from_utf8(row(&own)).unwrap();
        row.replace("\"stopped\"", &format!("\"{outcome}\"")).replace("\"lost\"", code)
    };
    let is_right = |flight: &InFlightTask, row: &str, recorded: Option<u32>| {
        let row: RowRef<'_> = serde_json::from_str(row).unwrap();
        let is_stopped = row.outcome == Outcome::Stopped;
        let (error, kept) = (row.error.as_ref(), recorded.map(calls));
        flight.check_calls(is_stopped, error, row.calls, kept).is_ok()
    };
    let new = flight();
    for (own, recorded, expected) in [
        (None, None, true),
        (Some(2), Some(2), true),
        (Some(1), Some(2), false),
        (None, Some(2), false),
        (Some(2), None, false),
    ] {
        assert_eq!(is_right(&new, &with("timeout", "\"x\"", own), recorded), expected);
        // The row of an interrupted attempt is not written.
        assert!(is_right(&new, &with("stopped", "\"x\"", own), recorded));
    }
    // Only an attempt with a journal can differ from it.
    let diverged = with("stopped", "\"diverged\"", None);
    assert!(!is_right(&new, &diverged, None));
    let mut continued = flight();
    let recorded = Recorded { sha256: digest(b""), continued: 1, used: Micros(1), replayed: None };
    continued.task.recorded = Some(recorded);
    assert!(is_right(&continued, &diverged, Some(2)));
    assert!(!is_right(&continued, &with("stopped", "\"diverged\"", Some(1)), Some(2)));
    // A row of the coordinator has them, too.
    let row = continued.row(LostReason::Crash, [Duration::ZERO; 2], "died", Some(calls(2)));
    let row: RowRef<'_> = serde_json::from_slice(&row).unwrap();
    assert_eq!((row.calls, row.continued), (Some(calls(2)), 1));
}

#[test]
fn artifacts_are_assembled_from_pieces() {
    let artifact = |content: &[u8], bytes: usize| {
        row(&format!(
            "\"artifacts\":[{{\"name\":\"x\",\"media_type\":\"text/plain\",\"sha256\":\"{}\",\"bytes\":{bytes}}}],",
            digest(content)
        ))
    };
    let sent = |pieces: &[&[u8]]| {
        let mut flight = flight();
        for piece in pieces {
            let draft = || Ok(tempfile::tempfile().unwrap());
            let added = flight.add_piece(0, piece, &Limits::default(), draft);
            added.unwrap().unwrap();
        }
        flight
    };
    let right = artifact(b"abcd", 4);
    assert_eq!(problem(&mut sent(&[b"ab", b"cd"]), &right, b""), None);
    for (mut flight, row) in [
        (sent(&[]), right.clone()),
        (sent(&[b"ab"]), right),
        (sent(&[b"abcd"]), artifact(b"abcd", 5)),
        (sent(&[b"abcd"]), artifact(b"abce", 4)),
        (sent(&[b"abcd"]), row("")),
    ] {
        assert!(problem(&mut flight, &row, b"").is_some());
    }
}

#[test]
fn artifacts_are_bounded_by_the_limits() {
    let limits = Limits {
        artifacts: 10,
        artifact_files: 1,
        reply: 0,
        workspace: 7,
        transcript: 5,
        ..Limits::default()
    };
    let draft = || Ok(tempfile::tempfile().unwrap());
    let mut flight = flight();
    let most = vec![b'0'; 10 + 7 + 2 * 5 + (MAX_CHANGE_BYTES + MAX_HEAD) as usize];
    assert!(flight.add_piece(0, &most, &limits, draft).unwrap().is_ok());
    assert!(flight.add_piece(0, b"x", &limits, draft).unwrap().is_err());
    assert!(flight.add_piece(5, b"", &limits, draft).unwrap().is_err());
}

#[test]
fn lost_judgement_changes_only_outcome_and_error() {
    let stored = row("\"output\":1,\"metrics\":[{\"name\":\"m\",\"value\":1.0}],");
    let stored = String::from_utf8(stored).unwrap().replace("\"stopped\"", "\"ungraded\"");
    let mut flight = flight();
    flight.task.kind = TaskKind::Judge;
    let mut line = stored.into_bytes();
    Tail { seq: 1, ..flight.tail(false, false, 1) }.finish(&mut line);
    line.pop();
    let bytes = line.clone();
    flight.stored = Some(StoredRow {
        bytes,
        line,
        attempt: 3,
        seq: 1,
        had_bad: false,
        logs: None,
        worker: None,
    });
    let error = flight.lost_error(LostReason::Crash, "died");
    let report = flight.lost_judged(Outcome::Error, error, Duration::ZERO, 1, None).unwrap();
    let row = report.row().unwrap();
    assert_eq!((row.outcome, &*row.error.unwrap().code), (Outcome::Error, "crash"));
    assert_eq!((row.output.unwrap().get(), row.grades.len(), row.metrics.len()), ("1", 0, 1));
}
