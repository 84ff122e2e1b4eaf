//! The flags of commands that connect to workers on other machines, and the address of the NATS server with its password.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::{env, ffi::OsString, time::Duration};

use clap::Args;
use runner_engine::remote::RemoteRequest;
use runner_scenario::gone;

use crate::args::{any_duration, label};
use crate::text::{CommandError, mistake};

/// Heading of these flags in the help of `exec` and `resume`.
pub const MACHINES: &str = "Workers on other machines";
/// Variable with the address.
const BROKER: &str = "RUNNER_BROKER";
/// Variable with the file of the secret key for runs, and with public keys for workers.
pub const BROKER_KEY: &str = "RUNNER_BROKER_KEY";
/// Earlier name of the variable.
const OLD_BROKER: &str = "RUNNER_ENGINE";

/// The broker: a NATS server through which coordinators and workers find each other.
#[derive(Args, Clone)]
pub struct BrokerArgs {
    /// NATS server [env: RUNNER_BROKER]
    #[arg(long, value_name = "ADDRESS")]
    broker: Option<String>,
    /// Certificates of its issuers
    #[arg(long, value_name = "FILE")]
    broker_ca: Option<PathBuf>,
    /// Credentials file of `nsc`
    #[arg(long, value_name = "FILE")]
    broker_creds: Option<PathBuf>,
    /// Allow connections without TLS
    #[arg(long)]
    broker_insecure: bool,
}

/// The flags of sessions whose attempts run on other machines.
#[derive(Args, Clone)]
pub struct RemoteArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Key of the run [env: RUNNER_BROKER_KEY]
    #[arg(long, value_name = "FILE")]
    broker_key: Option<PathBuf>,
    /// Label of the workers; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    worker_label: Vec<(String, String)>,
    /// Wait for a worker [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = any_duration)]
    wait_for_workers: Option<Duration>,
}

impl BrokerArgs {
    /// Returns the address, with user and password if it has them. `None` if no address is set.
    ///
    /// # Errors
    ///
    /// The variable has its earlier name. Without an error, a run would be executed on this machine.
    fn address(&self) -> Result<Option<String>, CommandError> {
        if env::var_os(OLD_BROKER).is_some_and(|address| !address.is_empty()) {
            let advice = gone("environment", OLD_BROKER).unwrap_or_default();
            return Err(mistake!("the variable `{OLD_BROKER}` is set; unset it\n{advice}"));
        }
        let stored = env::var(BROKER).ok().filter(|address| !address.is_empty());
        Ok(match (&self.broker, stored) {
            // The password of the same address: `hide_password` has moved it there.
            (Some(given), Some(stored)) if *given == without_login(&stored) => Some(stored),
            (Some(given), _) => Some(given.clone()),
            (None, stored) => stored,
        })
    }
}

impl RemoteArgs {
    /// Connects to the NATS server. `None` if the session is for this machine.
    pub fn connect(&self) -> Result<Option<RemoteRequest>, CommandError> {
        if self.broker.address()?.is_some() {
            return self.request().map(Some);
        }
        let flags = [
            (!self.worker_label.is_empty(), "--worker-label"),
            (self.wait_for_workers.is_some(), "--wait-for-workers"),
            (self.broker_key.is_some(), "--broker-key"),
            (self.broker.broker_ca.is_some(), "--broker-ca"),
            (self.broker.broker_creds.is_some(), "--broker-creds"),
            (self.broker.broker_insecure, "--broker-insecure"),
        ];
        match flags.iter().find(|(is_given, _)| *is_given) {
            Some((_, flag)) => Err(mistake!("`{flag}` needs `--broker ADDRESS`")),
            None => Ok(None),
        }
    }
}

#[cfg(feature = "fleet")]
mod connected {
    use std::{env, path::PathBuf, sync::Arc, time::Duration};

    use runner_engine::remote::RemoteRequest;
    use runner_fleet::{BrokerOptions, NatsSource};

    use super::{BROKER_KEY, BrokerArgs, RemoteArgs};
    use crate::text::{CommandError, mistake};

    /// Default of `--wait-for-workers`.
    const PATIENCE: Duration = Duration::from_secs(10 * 60);

    impl BrokerArgs {
        pub fn options(&self) -> Result<BrokerOptions, CommandError> {
            let address = self.address()?.ok_or_else(|| {
                mistake!("`--broker ADDRESS` is missing\nname a NATS server, such as `--broker nats://127.0.0.1:4222`, or set RUNNER_BROKER")
            })?;
            Ok(BrokerOptions {
                address,
                ca: self.broker_ca.clone(),
                credentials: self.broker_creds.clone(),
                insecure: self.broker_insecure,
            })
        }
    }

    impl RemoteArgs {
        pub(super) fn request(&self) -> Result<RemoteRequest, CommandError> {
            let labels = self.worker_label.iter().cloned().collect();
            let stored = env::var_os(BROKER_KEY).filter(|key| !key.is_empty()).map(PathBuf::from);
            let key = self.broker_key.clone().or(stored);
            let source = NatsSource::new(self.broker.options()?, labels, key.as_deref())?;
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

/// Starts the program again without the password of `--broker` in its arguments, which all users of the machine can read. The
/// whole address moves into the environment. Returns if the arguments have no password, or if the start fails.
pub fn hide_password() {
    let words: Vec<_> = env::args_os().collect();
    let Some((shown, address)) = moved_password(&words) else { return };
    let mut again = Command::new("/proc/self/exe");
    again.arg0(&shown[0]).args(&shown[1..]).env(BROKER, address);
    let _ = again.exec();
}

/// Returns the words with an address without its user and password, and the whole address. `None` if there is no such address.
fn moved_password(words: &[OsString]) -> Option<(Vec<OsString>, String)> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut shown = words.to_vec();
    for at in 1..end {
        let Some(word) = words[at].to_str() else { continue };
        let (start, address) = match word.strip_prefix("--broker=") {
            Some(address) => ("--broker=", address),
            None if words[at - 1] == "--broker" => ("", word),
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
    // A part without a scheme is the rest of a password.
    if address.split(',').any(|part| !part.contains("://")) {
        return part_without_login(address);
    }
    address.split(',').map(part_without_login).collect::<Vec<_>>().join(",")
}

fn part_without_login(part: &str) -> String {
    let Some((_, place)) = part.rsplit_once('@') else { return part.to_owned() };
    let scheme = part.split_inclusive("://").next().filter(|scheme| scheme.ends_with("://"));
    format!("{}{place}", scheme.unwrap_or_default())
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
                "runner exec a.toml --broker nats://me:p@ss@host:1 -q",
                "runner exec a.toml --broker nats://host:1 -q",
                "nats://me:p@ss@host:1",
            ),
            (
                "runner worker --broker=tls://token@host",
                "runner worker --broker=tls://host",
                "tls://token@host",
            ),
            ("runner worker --broker me:a,b@host", "runner worker --broker host", "me:a,b@host"),
            (
                "runner worker --broker nats://me:p@a,nats://me:p@b",
                "runner worker --broker nats://a,nats://b",
                "nats://me:p@a,nats://me:p@b",
            ),
        ] {
            assert_eq!(moved(line), Some((shown.to_owned(), address.to_owned())), "{line}");
        }
        for line in ["runner exec --broker nats://host", "runner exec -- --broker nats://a@b"] {
            assert_eq!(moved(line), None, "{line}");
        }
    }
}
