//! `__post PARENT_PID`: posts the document of a webhook. Descriptor 0 is the request, 1 receives the status of the response,
//! 2 the reason of a failure.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use runner_model::units::show_duration;
use runner_model::{NetGrant, protocol::PostRequest};
use tokio::{runtime, time::timeout};

use crate::harden::{Openings, harden};

/// Runs the child.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__post PARENT_PID`".to_owned());
    };
    harden(parent)?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    let request: PostRequest = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
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
    let status =
        posted.unwrap_or_else(|_| Err(format!("no response within {}", show_duration(time))))?;
    write!(io::stdout(), "{status}").map_err(|error| format!("cannot write the status: {error}"))
}
