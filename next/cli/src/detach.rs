//! `--detach`: the same program once more, in the background.
//!
//! The background process has the word `__detached` before its arguments, and a pipe as descriptor 0. Once its run is on disk
//! it says so there, on one line, leaves the terminal's session, and prints into the run's `runner.log`. Until then it prints
//! where the first process does, and a signal of the terminal ends both.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Once,
};

use runner_engine::{Observer, RunEvent};
use runner_model::{exit::Exit, visible::visible};
use runner_report::VERSION;
use serde::{Deserialize, Serialize};

use crate::text::{CommandError, Out};

/// Stands before the arguments of a background process.
const WORD: &str = "__detached";

/// What a background process has begun: a run or a group.
#[derive(Serialize, Deserialize)]
pub struct Begun {
    pub v: u8,
    /// Its id.
    pub id: String,
    /// The run's directory, as a user would type it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_dir: Option<String>,
}

/// The arguments as they were typed, without the program.
pub fn arguments() -> impl Iterator<Item = OsString> {
    let arguments = env::args_os().skip(1);
    arguments.skip(usize::from(is_background()))
}

/// Tells whether this is a background process.
pub fn is_background() -> bool {
    env::args_os().nth(1).is_some_and(|word| word == WORD)
}

/// Starts the background process, and prints the id of what it has begun. If it ends before, so does this one, with the same
/// exit code.
pub fn start(out: &Out, json: bool) -> Result<Exit, CommandError> {
    let failed = |error: io::Error| {
        CommandError::failed(format!("no process can be started in the background: {error}"))
    };
    let (mut said, saying) = io::pipe().map_err(failed)?;
    // Also right where the program's file was replaced since it was started.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("runner").arg(WORD).args(arguments());
    command.stdin(saying).stdout(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    // The pipe ends with the background process.
    drop(command);
    let mut line = String::new();
    said.read_to_string(&mut line).map_err(failed)?;
    if let Ok(begun) = serde_json::from_str::<Begun>(&line) {
        if json {
            out.document(&begun);
        } else {
            out.data(&begun.id);
        }
        return Ok(Exit::Success);
    }
    let status = child.wait().map_err(failed)?;
    // It has printed why.
    match status.code().and_then(|code| Exit::of_code(code as u8)) {
        Some(exit) if exit != Exit::Success => Ok(exit),
        _ => Err(CommandError::failed(format!(
            "the process in the background ended before there was a run: {status}"
        ))),
    }
}

/// Says what was begun, the first time, and leaves the session: no signal of the terminal reaches this process afterwards.
pub fn say(id: &str, run_dir: Option<String>) {
    static IS_SAID: Once = Once::new();
    IS_SAID.call_once(|| {
        // It leads no group of processes, so it may.
        let _ = rustix::process::setsid();
        let begun = Begun { v: VERSION, id: id.to_owned(), run_dir };
        let line = serde_json::to_vec(&begun).unwrap_or_default();
        // The first process may be gone; the run goes on.
        let _ = rustix::io::write(rustix::stdio::stdin(), &line);
        if let Ok(nothing) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(nothing);
        }
    });
}

/// Tells nothing of a session but that it has begun.
pub struct Background<'a> {
    pub out: &'a Out,
    /// Whether the run is on disk, with its log.
    pub is_born: bool,
}

impl Observer for Background<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Born { manifest, directory, log } => {
                say(&manifest.id, Some(directory.display().to_string()));
                // Whatever is printed from now on, a panic's message for example.
                let _ = rustix::stdio::dup2_stderr(log);
                self.is_born = true;
            }
            // Nothing was left to do.
            RunEvent::Finished { manifest, directory, .. } => {
                say(&manifest.id, Some(directory.display().to_string()))
            }
            // Later ones are in `runner.log`.
            RunEvent::Notice(text) if !self.is_born => {
                self.out.talk(&format!("note: {}", visible(text)));
            }
            _ => {}
        }
    }
}
