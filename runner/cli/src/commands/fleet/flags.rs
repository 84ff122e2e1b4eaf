//! The flags of commands that connect to workers on other machines, and the address of the NATS server with its password.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::{env, ffi::OsString, time::Duration};

use clap::Args;
use runner_engine::remote::RemoteRequest;

use crate::args::{any_duration, label};
use crate::text::{CommandError, mistake};

/// Heading of these flags in the help of `exec` and `resume`.
pub const MACHINES: &str = "Workers on other machines";
/// Variable with the address.
const ENGINE: &str = "RUNNER_ENGINE";

/// The engine: a NATS server through which coordinators and workers find each other.
#[derive(Args, Clone)]
pub struct EngineArgs {
    /// NATS server [env: RUNNER_ENGINE]
    #[arg(long, value_name = "ADDRESS")]
    engine: Option<String>,
    /// Certificates of its issuers
    #[arg(long, value_name = "FILE")]
    engine_ca: Option<PathBuf>,
    /// Credentials file of `nsc`
    #[arg(long, value_name = "FILE")]
    engine_creds: Option<PathBuf>,
    /// Allow connections without TLS
    #[arg(long)]
    engine_insecure: bool,
}

/// The flags of sessions whose attempts run on other machines.
#[derive(Args, Clone)]
pub struct RemoteArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Label of the workers; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    worker_label: Vec<(String, String)>,
    /// Wait for a worker [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = any_duration)]
    wait_for_workers: Option<Duration>,
}

impl EngineArgs {
    /// Returns the address, with user and password if it has them. `None` if no address is set.
    fn address(&self) -> Option<String> {
        let stored = env::var(ENGINE).ok().filter(|address| !address.is_empty());
        match (&self.engine, stored) {
            // The password of the same address: `hide_password` has moved it there.
            (Some(given), Some(stored)) if *given == without_login(&stored) => Some(stored),
            (Some(given), _) => Some(given.clone()),
            (None, stored) => stored,
        }
    }
}

impl RemoteArgs {
    /// Connects to the NATS server. `None` if the session is for this machine.
    pub fn connect(&self) -> Result<Option<RemoteRequest>, CommandError> {
        if self.engine.address().is_some() {
            return self.request().map(Some);
        }
        let flags = [
            (!self.worker_label.is_empty(), "--worker-label"),
            (self.wait_for_workers.is_some(), "--wait-for-workers"),
            (self.engine.engine_ca.is_some(), "--engine-ca"),
            (self.engine.engine_creds.is_some(), "--engine-creds"),
            (self.engine.engine_insecure, "--engine-insecure"),
        ];
        match flags.iter().find(|(is_given, _)| *is_given) {
            Some((_, flag)) => Err(mistake!("`{flag}` needs `--engine ADDRESS`")),
            None => Ok(None),
        }
    }
}

#[cfg(feature = "fleet")]
mod connected {
    use std::{sync::Arc, time::Duration};

    use runner_engine::remote::RemoteRequest;
    use runner_fleet::{EngineOptions, NatsSource};

    use super::{EngineArgs, RemoteArgs};
    use crate::text::{CommandError, mistake};

    /// Default of `--wait-for-workers`.
    const PATIENCE: Duration = Duration::from_secs(10 * 60);

    impl EngineArgs {
        pub fn options(&self) -> Result<EngineOptions, CommandError> {
            let address = self.address().ok_or_else(|| {
                mistake!("`--engine ADDRESS` is missing\nname a NATS server, such as `--engine nats://127.0.0.1:4222`, or set RUNNER_ENGINE")
            })?;
            Ok(EngineOptions {
                address,
                ca: self.engine_ca.clone(),
                credentials: self.engine_creds.clone(),
                insecure: self.engine_insecure,
            })
        }
    }

    impl RemoteArgs {
        pub(super) fn request(&self) -> Result<RemoteRequest, CommandError> {
            let labels = self.worker_label.iter().cloned().collect();
            let source = NatsSource::new(self.engine.options()?, labels)?;
            let patience = self.wait_for_workers.unwrap_or(PATIENCE);
            Ok(RemoteRequest { source: Arc::new(source), patience })
        }
    }
}

#[cfg(not(feature = "fleet"))]
impl RemoteArgs {
    fn request(&self) -> Result<RemoteRequest, CommandError> {
        Err(absent())
    }
}

/// Returns the message of a program without workers on other machines.
#[cfg(not(feature = "fleet"))]
pub fn absent() -> CommandError {
    mistake!(
        "this `runner` was built without workers on other machines\nbuild it with the feature `fleet`, or run a part of the plan on each machine: runner exec SCENARIO --shard I/N"
    )
}

/// Starts the program again without the password of `--engine` in its arguments, which all users of the machine can read. The
/// whole address moves into the environment. Returns if the arguments have no password, or if the start fails.
pub fn hide_password() {
    let words: Vec<_> = env::args_os().collect();
    let Some((shown, address)) = moved_password(&words) else { return };
    let mut again = Command::new("/proc/self/exe");
    again.arg0(&shown[0]).args(&shown[1..]).env(ENGINE, address);
    let _ = again.exec();
}

/// Returns the words with an address without its user and password, and the whole address. `None` if there is no such address.
fn moved_password(words: &[OsString]) -> Option<(Vec<OsString>, String)> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut shown = words.to_vec();
    for at in 1..end {
        let Some(word) = words[at].to_str() else { continue };
        let (start, address) = match word.strip_prefix("--engine=") {
            Some(address) => ("--engine=", address),
            None if words[at - 1] == "--engine" => ("", word),
            None => continue,
        };
        let public = without_login(address);
        if public != address {
            shown[at] = format!("{start}{public}").into();
            return Some((shown, address.to_owned()));
        }
    }
    None
}

/// Returns an address without user and password.
fn without_login(address: &str) -> String {
    let without_login = |part: &str| {
        let Some((_, place)) = part.rsplit_once('@') else { return part.to_owned() };
        let scheme = part.split_inclusive("://").next().filter(|scheme| scheme.ends_with("://"));
        format!("{}{place}", scheme.unwrap_or_default())
    };
    // A part without a scheme is the rest of a password.
    if address.split(',').any(|part| !part.contains("://")) {
        return without_login(address);
    }
    address.split(',').map(without_login).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::moved_password;

    fn moved(line: &str) -> Option<(String, String)> {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        let (shown, address) = moved_password(&words)?;
        Some((shown.join(" ".as_ref()).into_string().unwrap(), address))
    }

    #[test]
    fn passwords_leave_the_arguments() {
        for (line, shown, address) in [
            (
                "runner exec a.toml --engine nats://me:p@ss@host:1 -q",
                "runner exec a.toml --engine nats://host:1 -q",
                "nats://me:p@ss@host:1",
            ),
            (
                "runner worker --engine=tls://token@host",
                "runner worker --engine=tls://host",
                "tls://token@host",
            ),
            ("runner worker --engine me:a,b@host", "runner worker --engine host", "me:a,b@host"),
            (
                "runner worker --engine nats://me:p@a,nats://me:p@b",
                "runner worker --engine nats://a,nats://b",
                "nats://me:p@a,nats://me:p@b",
            ),
        ] {
            assert_eq!(moved(line), Some((shown.to_owned(), address.to_owned())), "{line}");
        }
        for line in ["runner exec --engine nats://host", "runner exec -- --engine nats://a@b"] {
            assert_eq!(moved(line), None, "{line}");
        }
    }
}
