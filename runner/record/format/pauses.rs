//! `pauses.json`: when a session was paused and by whom, for as long as it is open; then it is in the manifest.

use std::{io, path::Path, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    by::By,
    words::{self, InstantSchema},
};
use crate::record::disk::{durable, layout::RunDir, regular};

/// A time in which a session was paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Pause")]
pub struct RunPause {
    /// Since when.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub at: Timestamp,
    /// Until when; absent while it lasts, and where the process died in it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_instant"
    )]
    #[schemars(with = "Option<InstantSchema>")]
    pub until: Option<Timestamp>,
    /// Who asked for it; absent where that was Ctrl-Z, SIGTSTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct PausesText {
    session: u32,
    pauses: Vec<RunPause>,
}

impl RunPause {
    /// How much of a time between two moments it takes.
    pub fn within(&self, from: Timestamp, to: Timestamp) -> Duration {
        let end = self.until.map_or(to, |until| until.min(to));
        let taken = end.duration_since(self.at.max(from));
        taken.try_into().unwrap_or_default()
    }
}

/// Says when a session was paused. Readers look at it while it is paused, and a loss of power loses no more than that.
pub fn write(run_dir: &Path, session: u32, pauses: &[RunPause]) -> io::Result<()> {
    let text = PausesText {
        session,
        pauses: pauses.to_vec(),
    };
    let bytes = serde_json::to_vec(&text).expect("pauses can be written as JSON");
    durable::replace_unsynced(&RunDir::new(run_dir).pauses(), &bytes)
}

/// When a session was paused; never, if nobody says so.
pub(in crate::record) fn read(dir: &RunDir, session: u32) -> Vec<RunPause> {
    let read = || {
        let bytes = regular::read(&dir.pauses()).ok()?;
        serde_json::from_slice::<PausesText>(&bytes).ok()
    };
    match read() {
        Some(text) if text.session == session => text.pauses,
        _ => Vec::new(),
    }
}

/// Forgets them, once they are in the manifest.
pub(in crate::record) fn clear(dir: &RunDir) -> io::Result<()> {
    durable::remove(&dir.pauses())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use super::{RunPause, clear, read, write};
    use crate::record::{By, disk::layout::RunDir, testing::actor};

    #[test]
    fn pauses_are_those_of_their_session_and_take_what_they_overlap() {
        let directory = tempfile::tempdir().unwrap();
        let dir = RunDir::new(directory.path());
        let at: Timestamp = "2026-11-20T04:39:12.123Z".parse().unwrap();
        let after = |seconds| at + SignedDuration::from_secs(seconds);
        let pause = |until| RunPause {
            at,
            until,
            by: Some(By::from(&actor(Some("a meeting")))),
        };
        let pauses = [pause(Some(after(4))), pause(None)];
        assert_eq!(read(&dir, 2), []);
        write(directory.path(), 2, &pauses).unwrap();
        assert_eq!(read(&dir, 2), pauses);
        assert_eq!(read(&dir, 1), []);
        clear(&dir).unwrap();
        assert_eq!(read(&dir, 2), []);

        let seconds = |index: usize, from, to| {
            let taken = pauses[index].within(after(from), after(to));
            assert_eq!(taken, Duration::from_secs(taken.as_secs()));
            taken.as_secs()
        };
        assert_eq!(
            (seconds(0, -5, 9), seconds(0, 1, 3), seconds(0, 5, 9)),
            (4, 2, 0)
        );
        assert_eq!(
            (seconds(1, -5, 9), seconds(1, 1, 3), seconds(1, -5, -1)),
            (9, 2, 0)
        );
    }
}
