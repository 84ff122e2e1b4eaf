//! Many clients beside a run that writes as fast as it can: none of them misses anything, and the server stays small.
//!
//! `cargo bench --bench serve` measures the same with more of everything.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{client::Served, events::Listening};
use crate::support::{runner::CommandExt as _, runner::Runner, wait::wait_until};

const ROWS: u64 = 6_000;
const STREAMS: usize = 60;
const FULL: usize = 3;
const ASKERS: usize = 4;
/// Bytes.
const MOST_MEMORY: u64 = 200_000_000;

#[test]
fn nothing_is_lost_though_many_look_at_a_run_that_is_fast() {
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"a\"\nrepeat = {ROWS}\ninput = {{ do = \"echo\", value = 1 }}\n"
    ));
    let served = Served::start(&runner, &[]);
    let live = runner
        .command(&["exec", "scenario.toml", "--quiet", "--jobs", "2"])
        .start();
    wait_until("it can be seen", || !runner.runs().is_empty());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .map(|number| {
                let rows = if number < FULL { "?rows=full" } else { "" };
                let path = format!("/runs/latest/events{rows}");
                let mut stream = Listening::to(&served, &path, None);
                scope.spawn(move || {
                    let mut rows = 0;
                    while let Some(heard) = stream.next() {
                        if heard.name == "row" {
                            rows += 1;
                            assert_eq!(heard.data["row"]["seq"], rows);
                        }
                        if heard.name == "finished" {
                            return Some(rows);
                        }
                    }
                    None
                })
            })
            .collect();
        let askers: Vec<_> = (0..ASKERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0;
                    while !is_over.load(Ordering::Relaxed) && asked < 2_000 {
                        served.get("/runs?limit=20").expect(200);
                        served.get("/runs/latest/trials?limit=50").expect(200);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        live.finish().expect(0);
        is_over.store(true, Ordering::Relaxed);
        for asker in askers {
            assert!(asker.join().unwrap() > 0);
        }
        for (number, stream) in streams.into_iter().enumerate() {
            let expected = if number < FULL { ROWS } else { 0 };
            assert_eq!(stream.join().unwrap(), Some(expected), "stream {number}");
        }
    });
    assert_eq!(runner.only_run().rows().len() as u64, ROWS);
    let status = fs_err::read_to_string(format!("/proc/{}/status", served.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak * 1024 < MOST_MEMORY, "{peak} KiB");
}
