//! Requests to stop a run that another process owns: one file per mode in the run's directory.

use std::{io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{durable, layout::RunDir, words};
use crate::model::StopMode;

/// What a request says beside its mode.
#[derive(Serialize, Deserialize)]
struct Request {
    session: u32,
    who: String,
    #[serde(with = "words::instant")]
    at: Timestamp,
}

/// Asks the owner of a run's session to stop; asking again changes nothing.
pub fn request(
    run_dir: &Path,
    mode: StopMode,
    session: u32,
    who: &str,
    now: Timestamp,
) -> io::Result<()> {
    let request = Request {
        session,
        who: who.to_owned(),
        at: now,
    };
    let bytes = serde_json::to_vec(&request).expect("a request can be written as JSON");
    durable::replace_unsynced(&RunDir::new(run_dir).request(mode), &bytes)
}

/// The strongest request that concerns a session; those that name an earlier one came too late.
pub fn pending(run_dir: &Path, session: u32) -> Option<StopMode> {
    let dir = RunDir::new(run_dir);
    let strongest_first = StopMode::ALL.into_iter().rev();
    strongest_first
        .into_iter()
        .find(|mode| read(&dir, *mode).is_some_and(|request| request.session >= session))
}

/// Forgets all requests, once they are answered.
pub fn clear(run_dir: &Path) -> io::Result<()> {
    let dir = RunDir::new(run_dir);
    StopMode::ALL
        .into_iter()
        .try_for_each(|mode| durable::remove(&dir.request(mode)))
}

/// Reads a request; the owner of a run looks for them often, and mostly there is none.
fn read(dir: &RunDir, mode: StopMode) -> Option<Request> {
    let bytes = std::fs::read(dir.request(mode)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{clear, pending, request};
    use crate::model::StopMode;

    #[test]
    fn the_strongest_request_wins_and_those_of_earlier_sessions_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let ask = |mode, session| {
            let now = "2026-11-20T04:39:12.123Z".parse().unwrap();
            request(dir, mode, session, "pid 7", now).unwrap();
        };
        assert_eq!(pending(dir, 1), None);
        ask(StopMode::Drain, 2);
        ask(StopMode::Kill, 1);
        ask(StopMode::Stop, 2);
        ask(StopMode::Stop, 2);
        assert_eq!(pending(dir, 1), Some(StopMode::Kill));
        assert_eq!(pending(dir, 2), Some(StopMode::Stop));
        assert_eq!(pending(dir, 3), None);

        fs_err::write(dir.join("request-cancel.json"), "{").unwrap();
        assert_eq!(pending(dir, 2), Some(StopMode::Stop));
        clear(dir).unwrap();
        assert_eq!(pending(dir, 1), None);
        clear(dir).unwrap();
    }
}
