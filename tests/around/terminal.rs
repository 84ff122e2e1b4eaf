//! Sessions on a terminal: keys and echo.

use std::io::{Read as _, Write as _};
use std::{
    cell::RefCell, collections::BTreeSet, fs, fs::File, os::fd::OwnedFd, process::Child,
    time::SystemTime,
};

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{ENDLESS, SHORT, Worked, sleepers, sleeping};
use crate::support::{
    runner::Runner,
    running::Running,
    wait::{wait_for, wait_until},
};

/// A terminal with a command.
pub(crate) struct Terminal {
    terminal: File,
    output: RefCell<Vec<u8>>,
    command: Child,
}

impl Terminal {
    fn start(runner: &Runner, args: &str) -> Self {
        Self::start_in_zone(runner, "UTC", args)
    }

    fn start_in_zone(runner: &Runner, zone: &str, args: &str) -> Self {
        Self::run_script(runner, 80, zone, &format!("exec \"$runner\" {args}"))
    }

    pub(crate) fn run_script(runner: &Runner, columns: u16, zone: &str, script: &str) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let open = || -> OwnedFd {
            rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap()
        };
        let mut command = runner
            .shell("exec env --default-signal=INT,QUIT TERM=xterm setsid --ctty sh -c \"$script\"");
        command.env("script", script);
        command.env("TZ", zone).stdin(open()).stdout(open()).stderr(open());
        let command = command.spawn().unwrap();
        fcntl_setfl(&terminal, OFlags::NONBLOCK).unwrap();
        Self { terminal: terminal.into(), output: RefCell::default(), command }
    }

    fn press(&self, keys: &str) {
        (&self.terminal).write_all(keys.as_bytes()).unwrap();
    }

    /// Returns everything that was written to the terminal.
    fn screen(&self) -> String {
        let mut bytes = [0; 4096];
        // Ends when nothing is there, and with an error when the command has closed the terminal.
        while let Ok(count @ 1..) = (&self.terminal).read(&mut bytes) {
            self.output.borrow_mut().extend(&bytes[..count]);
        }
        // A read may end within a character.
        String::from_utf8_lossy(&self.output.borrow()).into_owned()
    }

    fn wait_for(&self, text: &str) {
        wait_until(text, || self.screen().contains(text));
    }

    fn has_echo(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        assert_eq!(modes.contains(LocalModes::ECHO), modes.contains(LocalModes::ICANON));
        modes.contains(LocalModes::ECHO)
    }

    pub(crate) fn end(mut self) -> (i32, String) {
        let status = wait_for("the command ends", || {
            self.screen();
            self.command.try_wait().unwrap()
        });
        let code = status.code().unwrap_or(-1);
        (code, self.screen())
    }
}

#[test]
fn key_lists_running_trials_without_echo() {
    let runner = sleepers(1, ENDLESS);
    let terminal = Terminal::start(&runner, "exec scenario.toml");
    terminal.wait_for("0/1");
    wait_until("the echo is off", || !terminal.has_echo());
    terminal.press("qQ\n");
    // The worker reports the guest's step a moment after its start.
    wait_until("the step is listed", || {
        terminal.press("t");
        terminal.screen().contains("nap@hostile#1 sleep for")
    });
    terminal.press("\u{3}");
    wait_until("the echo is on", || terminal.has_echo());
    let (code, output) = terminal.end();
    assert_eq!(code, 130);
    assert!(output.contains("stopping (Ctrl-C): 1 attempt in flight"), "{output:?}");
    assert!(!output.contains("qQ"), "{output:?}");
}

#[test]
fn bars_of_reruns_count_the_trials_of_the_session() {
    let runner = sleepers(2, SHORT);
    runner.exec(&[]).expect(0);
    runner.scenario(&sleeping("scenario", 2, ENDLESS));
    let terminal = Terminal::start(&runner, "resume --accept-changes");
    terminal.wait_for("0/2 now  2 passed");
    terminal.press("\u{3}");
    let (code, output) = terminal.end();
    assert_eq!(code, 130, "{output:?}");
}

#[test]
fn stops_leave_no_echo_and_no_bar() {
    let runner = sleepers(1, ENDLESS);
    let terminal = Terminal::start(&runner, "exec scenario.toml --grace 10m");
    terminal.wait_for("0/1");
    wait_until("the echo is off", || !terminal.has_echo());
    let run = runner.only_run();
    let _worked = Worked::on(&run);
    wait_until("an attempt runs", || run.in_flight(SystemTime::UNIX_EPOCH).len() == 1);
    terminal.press("\u{3}");
    terminal.wait_for("Ctrl-C again kills them");
    assert!(!terminal.has_echo());
    terminal.press("\u{3}");
    let (code, output) = terminal.end();
    assert_eq!(code, 130);
    assert!(!output.contains("^C"), "{output:?}");
}

#[test]
fn terminal_is_restored_while_suspended() {
    let runner = sleepers(1, ENDLESS);
    let terminal = Terminal::start(&runner, "exec scenario.toml");
    wait_until("the echo is off", || !terminal.has_echo());
    let process = Worked::on(&runner.only_run());
    terminal.press("\u{1a}");
    wait_until("the process is stopped", || process.0.is_stopped());
    assert!(terminal.has_echo());
    // The bar is not left above the shell's prompt.
    let output = terminal.screen();
    let (_, after) = output.rsplit_once("paused by Ctrl-Z").unwrap();
    assert!(!after.contains("0/1"), "{after:?}");
    process.0.signal(Signal::CONT);
    wait_until("the echo is off again", || !terminal.has_echo());
    terminal.press("\u{3}");
    assert_eq!(terminal.end().0, 130);
}

#[test]
fn quitting_restores_the_terminal() {
    let runner = sleepers(1, ENDLESS);
    let terminal = Terminal::start(&runner, "exec scenario.toml");
    wait_until("the echo is off", || !terminal.has_echo());
    let _worked = Worked::on(&runner.only_run());
    terminal.press("\u{1c}");
    wait_until("the echo is on", || terminal.has_echo());
    terminal.end();
}

#[test]
fn times_on_terminals_are_local() {
    let runner = sleepers(1, SHORT);
    runner.exec(&[]).expect(0);
    let (code, output) = Terminal::start_in_zone(&runner, "AAA-12", "show").end();
    assert_eq!(code, 0);
    assert!(output.contains(" AAA, just now"), "{output:?}");
    runner.run(&["show"]).expect(0).says(&[" UTC, just now"]);
}

#[test]
fn build_of_a_loader_shows_its_seconds() {
    let runner = Runner::new(&["hostile"]);
    let manifest = r#"
name = "filter"
kind = "component"
build = "false"
[dev]
loader = "until test -e ../end; do sleep 0.1; done; cp ../hostile.wasm dist/loader.wasm"
from = []
source = "touch dist/source"
"#;
    for folder in ["filter", "other"] {
        fs::create_dir(runner.path(folder)).unwrap();
        runner.write(&format!("{folder}/plugin.toml"), manifest);
    }
    // Other tests must not find the loader in the cache.
    let script = "RUNNER_CACHE=$PWD/cache exec \"$runner\" plugin build filter --dev";
    let terminal = Terminal::run_script(&runner, 80, "UTC", script);
    let mut elsewhere = runner.command(&["plugin", "build", "other", "--dev"]);
    elsewhere.env("RUNNER_CACHE", runner.path("cache2")).env("RUNNER_TEST_LINE_MS", "1000");
    let elsewhere = Running::start(&mut elsewhere);
    // A slow machine may show some of the seconds alone.
    let seconds = |text: &str, name: &str| -> BTreeSet<u64> {
        let start = format!("building {name}: ");
        let parts = text.split(&*start).skip(1);
        parts.filter_map(|part| part.split_once(" s")?.0.parse().ok()).collect()
    };
    wait_until("two seconds are shown", || {
        seconds(&terminal.screen(), "filter").range(1..).count() >= 2
    });
    wait_until("a line is printed", || {
        seconds(&elsewhere.shown(), "other").range(1..).next().is_some()
    });
    runner.write("end", "");
    elsewhere.finish().expect(0);
    assert_eq!(terminal.end().0, 0);
}
