//! [`waiting`]: what the attempts of a run are doing, and what its trials wait for.

use std::path::Path;

use jiff::Timestamp;

use crate::{
    error::Error,
    model::TrialId,
    record::{AttemptKey, AttemptPhase, Look, RunPause, RunReader, Underway, WaitingTrial},
    run::TrialNames,
    view::{
        AttemptName, ComingAttempt, GuestPhase, InFlightAttempt, PlacedAttempt, RunActivity,
        worked_between,
    },
};

/// What the attempts of the run in `dir` are doing `now`, and what its trials wait for; `None` if no process works on it.
///
/// It reads the manifest, `inflight` and the names of the attempts that stand there, and no rows, so it may be asked often.
///
/// # Errors
///
/// Fails if the run cannot be read.
pub fn waiting(dir: &Path, now: Timestamp) -> Result<Option<RunActivity>, Error> {
    let look = Look::at(dir).map_err(|error| Error::find(error.into()))?;
    let reader = look.reader();
    Ok(reader.is_alive().then(|| activity(reader, now)))
}

/// The same of a run that is known to be worked on.
pub(super) fn activity(reader: &RunReader, now: Timestamp) -> RunActivity {
    let mut names = TrialNames::of(reader);
    let mut in_flight = reader.in_flight();
    in_flight.sort_by_key(|underway| underway.begun_at);
    let pauses = reader.pauses();
    let in_flight = in_flight.into_iter().map(|underway| {
        let mut place = place(names.as_mut(), underway.key);
        let grader = underway.grader.map(|grader| {
            // How often a grader is asked is its own affair.
            (place.name.number, place.attempts) = (1, None);
            let graders = names.as_ref().map(|names| names.scenario().graders());
            let grader = graders.and_then(|graders| graders.get(grader as usize));
            grader.map(|grader| grader.name().to_owned())
        });
        in_flight_attempt(place, underway, grader, (now, &pauses))
    });
    let in_flight = in_flight.collect();
    let pause = reader.pause();
    let pause_began = pause.as_ref().map(|pause| pause.at);
    let waits = reader.waits();
    let waiting = waits.first.iter().map(|wait| {
        let WaitingTrial { key, why, until } = *wait;
        ComingAttempt {
            place: place(names.as_mut(), key),
            why,
            until,
            // While it is paused, that time does not come nearer.
            left: worked_between(pause_began.unwrap_or(now), until, &[]),
        }
    });
    RunActivity {
        in_flight,
        waiting: waiting.collect(),
        more_waiting: waits.more,
        without_workers_since: waits.without_workers_since,
        paused: pause,
    }
}

/// An attempt by its trial's id, or by its place in the plan where that is not there any more.
pub(super) fn attempt_name(id: Option<&TrialId>, key: AttemptKey) -> AttemptName {
    AttemptName {
        trial: id.map_or_else(|| format!("trial {}", key.ordinal), ToString::to_string),
        number: key.number,
    }
}

fn in_flight_attempt(
    place: PlacedAttempt,
    underway: Underway,
    grader: Option<Option<String>>,
    (now, pauses): (Timestamp, &[RunPause]),
) -> InFlightAttempt {
    let Underway {
        begun_at, phase, ..
    } = underway;
    let elapsed = |since: Option<Timestamp>| since.map(|since| worked_between(since, now, pauses));
    let since = phase.as_ref().and_then(|phase| phase.since.or(begun_at));
    let (phase, what) = match phase {
        None => (None, None),
        Some(AttemptPhase { waits_for, .. }) => match waits_for {
            None => (Some(GuestPhase::Computing), None),
            what => (Some(GuestPhase::HostCall), what),
        },
    };
    InFlightAttempt {
        place,
        is_grading: grader.is_some(),
        grader: grader.flatten(),
        elapsed: elapsed(begun_at),
        phase,
        what,
        since,
        phase_elapsed: elapsed(since),
    }
}

fn place(names: Option<&mut TrialNames>, key: AttemptKey) -> PlacedAttempt {
    let found = names.and_then(|names| {
        let id = names.name(key.ordinal)?;
        Some((id, names.test(key.ordinal)?.retries.max))
    });
    let (id, retries) = found.unzip();
    PlacedAttempt {
        name: attempt_name(id.as_ref(), key),
        repeat: id.as_ref().map(|id| id.repeat),
        attempts: retries.map(|retries| retries.saturating_add(1)),
        test: id.as_ref().map(|id| id.test.to_string()),
        provider: id.map(|id| id.provider.to_string()),
    }
}
