//! Tools of deterministic callers end at their own time, in each guest of an attempt at the same place.

use std::future::ready;
use std::io::{Seek as _, Write as _};
use std::sync::{Arc, Mutex};
use std::{fs, time::Duration, time::Instant};

use runner_model::cache::CodeForm;
use runner_model::protocol::{CALLS_VERSION, CallLine, Entry};
use runner_model::provider::InFlight;
use runner_model::{Fingerprint, Limits, Micros, Time, TrialId};
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;

use super::support::{Bench, guests};
use super::tools::{Tools, answers, caller};
use crate::{
    Access, Call, CallWorkspace, Ended, Ending, Journal, Keeper, Kept, Plugin, RecordedCalls,
    Toolbox,
};

const KEY: &str = "0123456789abcdef";
const START: i64 = 1_700_000_000_000;

/// The entries of an attempt, in memory.
#[derive(Clone, Default)]
struct Entries(Arc<Mutex<Vec<Vec<u8>>>>);

impl Keeper for Entries {
    fn keep(&self, entry: &[u8]) -> Kept {
        self.0.lock().unwrap().push(entry.to_vec());
        Box::pin(ready(()))
    }
}

impl Entries {
    /// Returns the entries as a worker gets them for a guest that continues.
    fn recorded(&self) -> RecordedCalls {
        let mut lines = tempfile::tempfile().unwrap();
        for (line, entry) in (1..).zip(&*self.0.lock().unwrap()) {
            let call = CallLine {
                v: CALLS_VERSION,
                trial: TrialId::parse("t@p#1").unwrap(),
                attempt: 1,
                tries: 1,
                grader: None,
                session: 1,
                key: 1,
                line,
                fingerprint: Fingerprint([1; 16]),
                entry: RawValue::NULL,
            };
            lines.write_all(&call.with_entry(entry)).unwrap();
        }
        lines.rewind().unwrap();
        RecordedCalls::read(lines, Micros(0), None, Micros(0), KEY).unwrap()
    }

    /// Returns the ends of tools.
    fn ends(&self) -> Vec<(u32, u64)> {
        let entries = self.0.lock().unwrap();
        let ends = entries.iter().filter_map(|entry| match Entry::read(entry).unwrap() {
            Entry::Ended { call, fuel, .. } => Some((call, fuel)),
            _ => None,
        });
        ends.collect()
    }
}

struct Attempts {
    bench: Bench,
    tools: Arc<dyn Toolbox>,
    caller: Plugin,
    _scratch: TempDir,
}

impl Attempts {
    /// Creates a caller with a tool that has this time.
    fn new(time: Duration) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let access = Access { scratch: scratch.path().to_owned(), ..Access::default() };
        let limits = Limits { scratch: 1 << 20, ..Limits::default() };
        let bench = Bench { access, limits, ..Bench::new() };
        let command = fs::read(guests::command()).unwrap();
        let command = bench.load_as(&command, CodeForm::Metered).unwrap();
        let component = fs::read(guests::component("contract-0-1-1-everything")).unwrap();
        let component = bench.load_as(&component, CodeForm::Metered).unwrap();
        let limited = || Limits { time: Some(time.into()), ..bench.limits.clone() };
        let plugins = vec![("program", command, limited()), ("provider", component, limited())];
        let tools: Arc<dyn Toolbox> = Tools::new(&bench, plugins);
        Self { caller: caller(&bench), bench, tools, _scratch: scratch }
    }

    fn run(
        &self,
        steps: &Value,
        recorded: Option<RecordedCalls>,
        is_replay: bool,
    ) -> (Ended, Entries) {
        let entries = Entries::default();
        let journal = Journal {
            keeper: Arc::new(entries.clone()),
            recorded: recorded.map(Arc::new),
            in_flight: InFlight::SendAgain,
            is_replay,
            compile_key: KEY.to_owned(),
        };
        let steps = steps.to_string();
        let workspace = CallWorkspace {
            base: None,
            mount: "/work",
            overlay: None,
            is_read_only: false,
            keeps: true,
        };
        let call = Call {
            tools: Some(self.tools.clone()),
            workspace: Some(workspace),
            deterministic: Some(Time::from_millis(START)),
            journal: Some(journal),
            ..self.bench.call(&steps)
        };
        let ended = self.bench.runtime.block_on(self.caller.run(&mut None, call));
        (ended, entries)
    }
}

#[test]
fn later_guests_end_where_the_first_one_did() {
    let steps = json!([
        { "call": "program", "input": ["count", "/work/a"] },
        { "read": "/work/a" },
        { "call": "program", "input": ["say", "fast"] },
        { "call": "program", "input": ["count-asleep", "/work/b"] },
        { "read": "/work/b" },
        { "call": "provider", "input": [{ "write": "/work/c", "text": "c" }, { "loop": true }] },
        { "read": "/work/c" },
    ]);
    for time in [1, 7, 40, 333].map(Duration::from_millis) {
        let attempts = Attempts::new(time);
        let (first, entries) = attempts.run(&steps, None, false);
        let calls = entries.ends();
        let numbers: Vec<_> = calls.iter().map(|(call, _)| *call).collect();
        let found = answers(&first);
        assert!([0, 3, 5].iter().all(|call| found[call]["error"] == "timeout"), "{found:#}");
        let are_kept = [1, 3, 4].iter().all(|call| numbers.contains(call));
        assert!(time.as_millis() < 300 || are_kept, "{numbers:?} {found:#}");

        let (continued, none) = attempts.run(&steps, Some(entries.recorded()), false);
        assert_eq!(answers(&continued), found);
        assert_eq!((none.ends(), continued.calls), (Vec::new(), first.calls));
        let (replayed, again) = attempts.run(&steps, Some(entries.recorded()), true);
        assert_eq!((answers(&replayed), again.ends()), (found, calls));
        assert_eq!(replayed.calls, first.calls);
    }
}

#[test]
fn sleeping_tool_ends_without_an_entry() {
    let attempts = Attempts::new(Duration::from_secs(1));
    let steps = json!([
        { "call": "program", "input": ["sleep"] },
        { "call": "provider", "input": { "sleep": 3_600_000 } },
    ]);
    let started = Instant::now();
    let (ended, entries) = attempts.run(&steps, None, false);
    assert!(started.elapsed() < Duration::from_secs(60));
    let found = answers(&ended);
    assert!([0, 1].iter().all(|call| found[call]["error"] == "timeout"), "{found:#}");
    assert_eq!((entries.ends(), ended.calls), (Vec::new(), None));
    assert_eq!(answers(&attempts.run(&steps, None, false).0), found);
}

#[test]
fn tool_that_ended_late_must_do_so_again() {
    let attempts = Attempts::new(Duration::from_millis(20));
    let loops = json!([{ "call": "program", "input": ["loop"] }]);
    let (_, entries) = attempts.run(&loops, None, false);
    for (steps, says) in [
        (json!([{ "call": "program", "input": ["say", "a"] }]), "call 1 of a tool ended at its"),
        (json!([{ "list": true }]), "it made call 1 of a tool before"),
    ] {
        let (ended, _) = attempts.run(&steps, Some(entries.recorded()), false);
        let Ending::Diverged(why) = &ended.ending else { panic!("{:?}", ended.ending) };
        assert!(why.starts_with(says), "{why}");
    }
}

#[test]
fn deadline_of_the_caller_ends_both() {
    let mut attempts = Attempts::new(Duration::from_secs(600));
    attempts.bench.timeout = Duration::from_millis(100);
    let (ended, entries) =
        attempts.run(&json!([{ "call": "program", "input": ["loop"] }]), None, false);
    assert!(matches!(ended.ending, Ending::Timeout), "{:?}", ended.ending);
    assert_eq!(entries.ends(), []);
}
