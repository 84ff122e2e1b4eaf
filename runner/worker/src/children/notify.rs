//! Children of notifications: one posts the document of a webhook, the other runs a command of `[notify]`.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{self, Command, ExitStatus};
use std::{collections::BTreeMap, env, mem, sync::Arc, time::Duration};

use runner_model::protocol::{PostAnswer, PostRequest};
use runner_model::visible::{cut, visible_line};
use runner_model::{NetGrant, units::show_duration};
use runner_sandbox::{Redactor, Stream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, getppid, kill_process_group, pidfd_open};
use serde_json::Value;
use tokio::{runtime, time::timeout};

use crate::harden::{Openings, harden};

/// Bytes kept of the error output, the last ones.
const MAX_TAIL: usize = 1 << 10;

/// Characters of a receiver's reason.
const MAX_REASON: usize = 200;

/// Runs `__post PARENT_PID`: posts the document of a webhook. Descriptor 0 is the request, 1 receives the answer, 2 the reason of
/// a failure.
pub fn post(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__post PARENT_PID`".to_owned());
    };
    harden(parent)?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    let mut request: PostRequest =
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let secrets = mem::take(&mut request.secrets);
    let destination = NetGrant::of_address(&request.url)?;
    // Before the files of the system's certificates are closed to this process.
    if destination.to_string().starts_with("https:") {
        runner_sandbox::load_certificates();
    }
    Openings { ports: vec![destination.port()], ..Openings::default() }.close_others();
    let time = Duration::from(request.timeout);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let posted = runtime.block_on(async { timeout(time, runner_sandbox::post(request)).await });
    // Nothing can end a look-up of a name that no server answers.
    runtime.shutdown_background();
    let mut answer =
        posted.unwrap_or_else(|_| Err(format!("no response within {}", show_duration(time))))?;
    if let PostAnswer::Response { reason, .. } = &mut answer {
        *reason = reason.take().and_then(|body| reason_of(&body, &secrets));
    }
    let written = serde_json::to_writer(io::stdout(), &answer);
    written.map_err(|error| format!("cannot write the answer: {error}"))
}

/// Returns the reason in the body of a response: a text of its JSON, or else its first line. `None` for a page.
fn reason_of(body: &str, secrets: &BTreeMap<String, String>) -> Option<String> {
    let body = body.trim_start_matches('\u{feff}').trim();
    let in_json = serde_json::from_str(body).ok().and_then(|json: Value| text_of(&json));
    let mut reason = in_json
        .or_else(|| body.lines().next().filter(|line| !line.starts_with('<')).map(str::to_owned))?;
    if let Some(redactor) = Redactor::new(secrets) {
        redactor.text(&mut reason);
    }
    let reason = cut(&visible_line(reason.trim()), MAX_REASON);
    (!reason.is_empty()).then_some(reason)
}

/// Returns the text of an error in JSON, in the forms of common services.
fn text_of(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Object(object) => ["message", "error", "detail", "description", "title"]
            .iter()
            .find_map(|key| text_of(object.get(*key)?)),
        _ => None,
    }
}

/// Runs `__command PARENT_PID SECRETS PROGRAM [ARGUMENT…]`: a command of `[notify]`, with whose exit code it ends. Kills the
/// command's process group when the parent dies. `SECRETS` are names of environment variables, with commas between them.
/// Descriptor 2 receives the end of the command's error output, without the values of these variables.
#[allow(clippy::exit, reason = "the exit code is that of the command")]
pub fn run_command(arguments: &[&str]) -> Result<(), String> {
    let [parent, secrets, program, arguments @ ..] = arguments else {
        return Err("expected `__command PARENT_PID SECRETS PROGRAM [ARGUMENT…]`".to_owned());
    };
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let (mut output, stderr) = io::pipe().map_err(|error| format!("cannot start: {error}"))?;
    let mut command = Command::new(program);
    command.args(arguments).stderr(stderr);
    let started = command.spawn();
    // The command holds the writer. Without this, the output would not end.
    drop(command);
    let mut child =
        started.map_err(|error| format!("cannot start `{}`: {error}", visible_line(program)))?;
    let mut tail = Tail::new(secrets);
    let status = wait(parent, Pid::from_child(&child), &mut output, &mut tail)
        .and_then(|()| child.wait())
        .map_err(|error| format!("cannot wait for it: {error}"))?;
    let _ = io::stderr().write_all(&tail.end());
    process::exit(code(status))
}

/// Reads the command's error output until the command ends. Its children may keep the pipe open. Kills this process group when
/// the parent dies.
fn wait(
    parent: Option<Pid>,
    child: Pid,
    output: &mut PipeReader,
    tail: &mut Tail,
) -> io::Result<()> {
    ioctl_fionbio(&*output, true)?;
    let end = pidfd_open(child, PidfdFlags::empty())?;
    let parent_end = parent.and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
    let mut is_open = true;
    loop {
        // After the descriptor is open: a parent that died before has another number.
        let Some(parent_end) = parent_end.as_ref().filter(|_| getppid() == parent) else {
            kill_process_group(getpgrp(), Signal::KILL)?;
            return Err(Errno::SRCH.into());
        };
        let mut descriptors =
            vec![PollFd::new(&end, PollFlags::IN), PollFd::new(parent_end, PollFlags::IN)];
        if is_open {
            descriptors.push(PollFd::new(&*output, PollFlags::IN));
        }
        match poll(&mut descriptors, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_ended = !descriptors[0].revents().is_empty();
        drop(descriptors);
        is_open = is_open && tail.read(output);
        if has_ended {
            return Ok(());
        }
    }
}

/// Returns the exit code as a shell does.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The last bytes of an output, without secrets.
struct Tail {
    redacted: Option<Stream>,
    kept: Vec<u8>,
}

impl Tail {
    fn new(secrets: &str) -> Self {
        let names = secrets.split(',');
        let values = names.filter_map(|name| Some((name.to_owned(), env::var(name).ok()?)));
        let redactor = Redactor::new(&values.collect());
        let redacted = redactor.map(|redactor| Arc::new(redactor).stream());
        Self { redacted, kept: Vec::new() }
    }

    /// Reads the output so far, without waiting. Returns whether there may be more.
    fn read(&mut self, output: &mut PipeReader) -> bool {
        // The capacity of a pipe.
        let mut bytes = vec![0; 64 << 10];
        match output.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                let bytes = &bytes[..count];
                let redacted = self.redacted.as_mut().map(|stream| stream.push(bytes));
                self.keep(redacted.as_deref().unwrap_or(bytes));
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        self.kept.drain(..self.kept.len().saturating_sub(MAX_TAIL));
    }

    fn end(mut self) -> Vec<u8> {
        let rest = self.redacted.as_mut().map(Stream::end).unwrap_or_default();
        self.keep(&rest);
        self.kept
    }
}
