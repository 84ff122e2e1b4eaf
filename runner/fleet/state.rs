//! What an engine and its workers say of themselves.

use std::{collections::BTreeMap, time::Duration};

/// The longest name of a worker, in bytes.
const MOST_NAME: usize = 128;

/// A worker, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentWorker {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// The version of its runner.
    pub version: String,
    /// How many processors it has.
    pub cores: usize,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    /// The run whose attempts it makes.
    pub run: Option<String>,
    /// Whether it takes nothing more.
    pub is_leaving: bool,
}

/// What an engine is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// Where it is.
    pub at: String,
    /// The version of the server.
    pub version: String,
    /// The longest message that it takes, in bytes.
    pub most_bytes: usize,
    /// How long a message takes to it and back.
    pub round_trip: Duration,
    /// How many blobs it keeps, and how many bytes they are together.
    pub blobs: (usize, u64),
    /// Why it cannot keep any.
    pub keeps_nothing: Option<String>,
}

/// Removes blobs that nobody has put there again for so long.
#[derive(Clone, Copy, Debug)]
pub struct BlobCleaning {
    /// In seconds since 1970: what was put there before.
    pub before: i64,
    /// Whether it is only told what would go.
    pub is_dry: bool,
}

/// What workers are told of a run.
#[derive(Clone, Debug)]
pub struct SpreadRun {
    /// The name of its directory.
    pub run: String,
    /// The name of its scenario.
    pub scenario: String,
    /// What they must be labelled with.
    pub labels: BTreeMap<String, String>,
    /// Which process makes it, where and since when.
    pub holder: String,
}

/// Tells whether a text can be the name of a worker: it stands in rows and in logs.
pub fn is_worker_name(text: &str) -> bool {
    worker_name_problem(text).is_none()
}

/// Why a text cannot be the name of a worker.
pub fn worker_name_problem(text: &str) -> Option<String> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if text.is_empty() {
        return Some("it is empty".to_owned());
    }
    if text.len() > MOST_NAME {
        let length = text.len();
        return Some(format!("it has {length} bytes, and may have {MOST_NAME}"));
    }
    // The processes of a worker are numbered behind a slash.
    let is_plain = text.bytes().all(is_of_name);
    (!is_plain).then(|| "letters, digits, `-`, `_`, `.` and `:` are of names".to_owned())
}

/// Tells whether a text can be the name of a process of a worker: the worker's, a slash, and a number from 1.
#[cfg(feature = "fleet")]
pub(super) fn is_seat_name(text: &str) -> bool {
    let is_number = |place: &str| {
        !place.starts_with('0')
            && (1..=5).contains(&place.len())
            && place.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.rsplit_once('/')
        .is_some_and(|(worker, place)| is_worker_name(worker) && is_number(place))
}

#[cfg(all(test, feature = "fleet"))]
mod tests {
    use super::{is_seat_name, is_worker_name};

    #[test]
    fn names_are_of_a_few_letters_and_a_process_has_a_number_behind() {
        let longest = "n".repeat(128);
        for name in ["a", "gpu-3f2a", "node_1.example:2", &longest] {
            assert!(is_worker_name(name), "{name}");
            for place in ["1", "4096", "65535"] {
                assert!(is_seat_name(&format!("{name}/{place}")), "{name}/{place}");
            }
            for place in ["", "0", "01", "x", "+1", "123456", "1/1", "1\n"] {
                assert!(!is_seat_name(&format!("{name}/{place}")), "{name}/{place}");
            }
            assert!(!is_seat_name(name), "{name}");
        }
        let too_long = "n".repeat(129);
        for name in [
            "",
            " ",
            "a b",
            "a/1",
            "\u{1b}[31m",
            "é",
            "a\n",
            "a\0",
            &too_long,
        ] {
            assert!(!is_worker_name(name), "{}", name.escape_default());
            assert!(!is_seat_name(&format!("{name}/1")), "{name}");
        }
    }
}
