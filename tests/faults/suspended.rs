//! A process that is stopped for a while: nobody works meanwhile, so that time is no trial's, no attempt's and no run's.

use std::{thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    runner::{Run, Runner, Running, Signal},
    wait::wait_until,
};

/// Past the deadlines of both attempts and of the run, and past what the watchdog adds to that.
const STOPPED: Duration = Duration::from_secs(13);

fn napping_and_endless() -> Runner {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "nap"
        input = { do = "sleep", ms = 2000 }
        timeout = "4s"
        [[tests]]
        id = "endless"
        input = { do = "loop" }
        timeout = "4s"
        "#,
    );
    // The plugin is compiled, so that this takes nothing of the run's time.
    runner.exec(&["--limit", "time=1ms"]).expect(1);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    runner
}

/// Waits until the kernel says that the process is, or is not, stopped.
fn wait_until_stopped(live: &Running, is_stopped: bool) {
    wait_until("the kernel says so", || {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", live.id())).unwrap();
        let (_, state) = stat.rsplit_once(") ").unwrap();
        state.starts_with('T') == is_stopped
    });
}

fn milliseconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// Fails unless the time that the process was stopped is told, and is not in what was measured.
#[track_caller]
fn assert_handed_back(run: &Run, stopped: Duration) {
    let least = stopped.as_millis() as f64 - 1_000.0;
    for row in run.rows() {
        assert!(milliseconds(&row["suspended_ms"]) >= least, "{row}");
    }
    let session = &run.manifest()["sessions"][0];
    assert!(milliseconds(&session["suspended_ms"]) >= least, "{session}");

    let nap = run.row("nap");
    assert_eq!(nap["outcome"], "passed");
    assert!(milliseconds(&nap["duration_ms"]) < 4_000.0, "{nap}");
    // Whoever computes comes to the deadline all the same.
    let endless = run.row("endless");
    assert_eq!(
        (&endless["outcome"], &endless["error"]["code"]),
        (&json!("timeout"), &json!("timeout"))
    );
    // The deadline is set a little before the guest starts.
    assert!(
        milliseconds(&endless["duration_ms"]) >= 3_900.0,
        "{endless}"
    );
}

#[test]
fn time_in_which_the_process_was_stopped_is_nobodys() {
    let runner = napping_and_endless();
    // Nine seconds.
    let mut live = runner.start(&["-j", "2", "--timeout-minutes", "0.15"]);
    live.wait_until_running(2);
    live.signal(Signal::STOP);
    wait_until_stopped(&live, true);
    // That time passes is what is tested.
    sleep(STOPPED);
    live.signal(Signal::CONT);
    let ran = live.finish().expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_handed_back(&run, STOPPED);
    let listed = &runner.list(&[])[0];
    assert!(milliseconds(&listed["worked_ms"]) < 13_000.0, "{listed}");
    let shown = runner.run(&["show"]).expect(0).stdout;
    let ended = shown.lines().find(|line| line.starts_with("ended"));
    assert!(ended.unwrap().ends_with(" in all"), "{shown}");
    runner.assert_valid("row", &run.lines());
    runner.assert_valid("benchmark", &[run.manifest()]);
    runner.assert_valid("events", &ran.events());
}

#[test]
fn ctrl_z_stops_the_process_and_it_goes_on_as_if_nothing_had_been() {
    let runner = napping_and_endless();
    let mut live = runner.start(&["-j", "2"]);
    live.wait_until_running(2);
    let stopped = Duration::from_secs(4);
    for _ in 0..2 {
        live.signal(Signal::TSTP);
        wait_until_stopped(&live, true);
        sleep(stopped);
        live.signal(Signal::CONT);
        wait_until_stopped(&live, false);
    }
    live.finish().expect(1);
    assert_handed_back(&runner.only_run(), stopped);
}

#[test]
fn a_stop_is_answered_by_a_process_that_goes_on() {
    let runner = napping_and_endless();
    let mut live = runner.start(&["-j", "2"]);
    live.wait_until_running(2);
    live.signal(Signal::TSTP);
    wait_until_stopped(&live, true);
    live.signal(Signal::INT);
    live.signal(Signal::CONT);
    live.finish().expect(130);
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    assert_eq!(run.rows().len(), 2);
}
