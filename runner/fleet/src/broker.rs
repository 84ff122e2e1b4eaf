//! [`Broker`]: the connection to NATS.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{
    collections::HashSet, error::Error, fs::File, io, io::Read as _, iter, mem, path::Path,
    sync::atomic::Ordering,
};

use async_nats::connection::State;
use async_nats::jetstream::context::{ContextBuilder, GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use runner_model::{Digest, visible::shown_path};
use runner_prepare::source::read_regular;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::address::{BrokerOptions, MAX_FILE, Servers, seed};
use crate::error::FleetError;
use crate::wire::{MAX_PIECE, PIECE_HEAD, SEAL, shown};

/// First connections that may time out. On a network that loses one of 20 packets, one attempt of a hundred does.
const ATTEMPTS: u32 = 3;
/// Time for the first connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Time for one attempt to connect. A packet lost in a cut must not delay the next attempt for longer.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(3);
/// Longest time between two attempts to connect again.
pub(crate) const RECONNECT_EVERY: Duration = Duration::from_millis(500);
/// Interval of the client's pings. A cut is noticed after three.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Time for the answer to one request.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Interval of checks for a violation of permissions.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Messages of a subscription that may be unread. Further ones are lost, and the link sends them again.
const MAX_UNREAD: usize = 64 << 10;

/// A connection to a broker. Reconnects without limit once the first connection has succeeded.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    /// The address, for messages.
    pub(crate) address: String,
    /// Name of the user, as a token of a subject.
    pub(crate) user: String,
    connected: Arc<Mutex<Connected>>,
    complaints: Complaints,
    pub(crate) stored: Stored,
}

/// Blobs that this process has stored or checked on the broker. A blob is removed if a worker cannot fetch it.
pub(crate) type Stored = Arc<Mutex<HashSet<Digest>>>;

/// The last violations of permissions that the server has reported.
type Complaints = Arc<Mutex<Vec<(Instant, String)>>>;

/// The last known connection.
struct Connected {
    /// Number of connections so far.
    count: u64,
    /// `None` for the first connection.
    since: Option<Instant>,
}

impl Broker {
    /// Connects, and checks that the broker can be used. `name` is for the broker's operator.
    pub(crate) async fn connect(options: &BrokerOptions, name: &str) -> Result<Self, FleetError> {
        let servers = options.servers()?;
        let user = options.user()?;
        let address = options.shown();
        let complaints = Arc::default();
        let mut left = ATTEMPTS;
        let client = loop {
            let connecting = connect_options(options, &servers, name, &complaints)?;
            let connecting = connecting.connect(servers.addresses.clone());
            let client = timeout(CONNECT_WITHIN, connecting).await;
            let client = client.unwrap_or_else(|_| Err(ConnectErrorKind::TimedOut.into()));
            left -= 1;
            if !matches!(&client, Err(error) if error.kind() == ConnectErrorKind::TimedOut && left > 0)
            {
                break client;
            }
        };
        let client = client.map_err(|error| not_connected(&address, servers.needs_tls, &error))?;
        if !client.is_server_compatible(2, 11, 0) {
            let version = shown(&client.server_info().version);
            return Err(FleetError::Refused(format!(
                "the broker at {address} is nats-server {version}; use 2.11 or newer"
            )));
        }
        let most = client.server_info().max_payload;
        if most < PIECE_HEAD + MAX_PIECE + SEAL {
            return Err(FleetError::Refused(format!(
                "the broker at {address} accepts messages of at most {most} bytes; set `max_payload: 1MB` in its configuration"
            )));
        }
        let jetstream = ContextBuilder::new().timeout(ANSWER_WITHIN).build(client.clone());
        let count = client.statistics().connects.load(Ordering::Relaxed);
        let connected = Arc::new(Mutex::new(Connected { count, since: None }));
        let stored = Arc::default();
        let broker = Self { client, jetstream, address, user, connected, complaints, stored };
        broker.answer().await?;
        Ok(broker)
    }

    /// Returns the time since the last reconnection: [`Duration::MAX`] before any, `None` while disconnected.
    ///
    /// Must be called every few seconds: a reconnection counts from the first call after it, never from an earlier time.
    pub(crate) fn connected_for(&self) -> Option<Duration> {
        // Events of the client may be lost, this number cannot.
        let count = self.client.statistics().connects.load(Ordering::Relaxed);
        let mut connected = lock(&self.connected);
        if connected.count != count {
            *connected = Connected { count, since: Some(Instant::now()) };
        }
        let is_connected = self.client.connection_state() == State::Connected;
        is_connected.then(|| connected.since.map_or(Duration::MAX, |since| since.elapsed()))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.client.server_info().cluster.is_some()
    }

    /// Returns whether the server has recently reported that the user may not publish on `subject`. The request has no answer.
    pub(crate) fn has_complaint(&self, subject: &str) -> bool {
        let quoted = format!("\"{subject}\"");
        lock(&self.complaints).iter().any(|(at, text)| is_recent(*at) && text.contains(&quoted))
    }

    /// Waits until the server has reported that the user may not publish on `subject`.
    pub(crate) async fn refused(&self, subject: &str) {
        while !self.has_complaint(subject) {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Converts an error of a request to JetStream.
    pub(crate) fn failure(&self, error: &(dyn Error + 'static)) -> FleetError {
        let address = &self.address;
        let text = error.to_string();
        if let Some(refusal) = refusal(address, &self.complaints) {
            return refusal;
        }
        let is_connected = self.client.connection_state() == State::Connected;
        // Texts of the client, for "no responders", and of the server.
        if is_connected && (text.contains("does not exist") || text.contains("not enabled")) {
            let problem = format!(
                "the broker at {address} has no JetStream; start it with `nats-server --jetstream`"
            );
            // A cluster may have just lost a server.
            return if self.is_cluster() {
                FleetError::Unreachable(problem)
            } else {
                FleetError::Refused(problem)
            };
        }
        let cause = causes(error).last().map(|cause| shown(&cause.to_string()));
        let full = cause.as_ref().filter(|cause| {
            ["insufficient", "maximum bytes", "resource limits", "number of streams"]
                .iter()
                .any(|text| cause.contains(text))
        });
        if let Some(cause) = full {
            let settings = if cause.contains("streams") {
                "`max_streams` of the account"
            } else if cause.contains("memory") {
                "`max_memory_store` in its configuration, or `max_mem` of the account"
            } else {
                "`max_file_store` in its configuration, or `max_file` of the account"
            };
            return FleetError::Refused(format!(
                "the broker at {address} has no space left: {cause}; raise {settings}"
            ));
        }
        FleetError::Unreachable(match cause.filter(|_| !text.contains("timed out")) {
            Some(cause) => format!("the broker at {address} cannot do this: {cause}"),
            None => format!("the broker at {address} does not answer within 3 s; try again"),
        })
    }
}

fn connect_options(
    options: &BrokerOptions,
    servers: &Servers,
    name: &str,
    complaints: &Complaints,
) -> Result<ConnectOptions, FleetError> {
    let complaints = Arc::clone(complaints);
    let mut connecting = ConnectOptions::new()
        .name(name)
        .require_tls(servers.needs_tls)
        // The list comes unencrypted, so a stranger could add a server that gets the password.
        .ignore_discovered_servers()
        .connection_timeout(ATTEMPT_WITHIN)
        .ping_interval(PING_EVERY)
        .subscription_capacity(MAX_UNREAD)
        .request_timeout(Some(ANSWER_WITHIN))
        .reconnect_delay_callback(|attempts| match attempts {
            0 | 1 => Duration::ZERO,
            attempts => RECONNECT_EVERY.min(Duration::from_millis(50) * attempts.min(10) as u32),
        })
        .event_callback(move |event| {
            // A broker reports a missing permission as an event: the request itself gets no answer.
            if let Event::ServerError(ServerError::Other(text)) = event
                && text.to_lowercase().contains("permissions violation")
            {
                let mut complaints = lock(&complaints);
                complaints.retain(|(at, _)| is_recent(*at));
                complaints.push((Instant::now(), shown(&text)));
            }
            async {}
        });
    if let Some((user, password)) = servers.user.clone() {
        connecting = connecting.user_and_password(user, password);
    }
    let unusable = |path: &Path, error: io::Error| {
        FleetError::Usage(format!("cannot use `{}`: {error}", shown_path(path)))
    };
    if let Some(path) = &options.ca {
        // The client's error does not contain the path, and the client accepts a file without a certificate.
        let text = read_regular(path, MAX_FILE).map_err(|error| unusable(path, error))?;
        if !String::from_utf8_lossy(&text).contains("-----BEGIN CERTIFICATE-----") {
            return Err(FleetError::Usage(format!(
                "`{}` has no certificate; `--broker-ca` needs a PEM file with the certificate of the broker's issuer",
                shown_path(path)
            )));
        }
        connecting = connecting.add_root_certificates(path.clone());
    }
    if let Some(path) = &options.credentials {
        let text = File::open(path).and_then(|file| io::read_to_string(file.take(MAX_FILE)));
        let text = text.map_err(|error| unusable(path, error))?;
        connecting = match seed(&text).filter(|_| !text.contains("JWT")) {
            Some(seed) => connecting.nkey(seed.to_owned()),
            None => connecting.credentials(&text).map_err(|error| unusable(path, error))?,
        };
    }
    Ok(connecting)
}

/// Converts an error of the first connection.
fn not_connected(address: &str, needs_tls: bool, error: &ConnectError) -> FleetError {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let cause = shown(cause.split(" (os error").next().unwrap_or_default());
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            FleetError::Refused(format!(
                "the broker at {address} refuses the user; use `nats://USER:PASSWORD@HOST` or `--broker-creds FILE`"
            ))
        }
        _ if cause.contains("CaUsedAsEndEntity") => FleetError::Refused(format!(
            "the broker at {address} uses an issuer's certificate (`CA:TRUE`) as its own; sign a certificate for the broker \
             with it, or create one with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`"
        )),
        _ if cause.contains("certificate") || cause.contains("certs") => {
            FleetError::Refused(format!(
                "the certificate of the broker at {address} is not accepted: {cause}; use a host name that it has, and \
             `--broker-ca FILE` with the certificate of its issuer"
            ))
        }
        _ if needs_tls && cause.contains("corrupt message") => FleetError::Refused(format!(
            "the broker at {address} has no TLS; set that up there, or accept an unencrypted connection with \
             `--broker-insecure`"
        )),
        _ => FleetError::Unreachable(format!(
            "no broker answers at {address}: {cause}; check the address, and that `nats-server --jetstream` runs there"
        )),
    }
}

/// Returns the error for a recent violation of permissions.
fn refusal(address: &str, complaints: &Complaints) -> Option<FleetError> {
    let (_, complaint) =
        mem::take(&mut *lock(complaints)).pop().filter(|(at, _)| is_recent(*at))?;
    Some(FleetError::Refused(format!(
        "the broker at {address} does not allow this: {complaint}; compare the user's permissions with those of `runner broker check`"
    )))
}

/// Returns whether a request may fail because of a violation of permissions at this time.
fn is_recent(violation: Instant) -> bool {
    violation.elapsed() < 2 * ANSWER_WITHIN
}

/// Runs a future on this thread, with all tasks that it spawns.
pub(crate) fn block_on<T>(
    future: impl Future<Output = Result<T, FleetError>>,
) -> Result<T, FleetError> {
    let runtime = runtime()?;
    let result = runtime.block_on(future);
    // Does not wait for a slow DNS lookup.
    runtime.shutdown_background();
    result
}

/// Returns a runtime for connections, which runs on the thread that blocks on it.
pub(crate) fn runtime() -> Result<Runtime, FleetError> {
    Builder::new_current_thread().enable_all().build().map_err(|error| {
        FleetError::Unreachable(format!("cannot prepare a connection to the broker: {error}"))
    })
}

/// Returns a random token of 16 hexadecimal digits.
pub(crate) fn token() -> String {
    let mut bytes = [0; 8];
    // `getrandom` fails only for invalid arguments, and always fills small buffers.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!("{:016x}", u64::from_le_bytes(bytes))
}

/// Returns the name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns whether an error means that the broker lacks a stream.
pub(crate) fn is_missing(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let kind = cause.downcast_ref::<GetStreamError>().map(GetStreamError::kind);
        matches!(kind, Some(GetStreamErrorKind::JetStream(error))
            if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
    })
}

/// Returns an error and its sources.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| (*error).source())
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{Broker, block_on};
    use crate::address::BrokerOptions;
    use crate::error::FleetError;

    #[test]
    fn absent_broker_is_named_without_its_password() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        drop(listener);
        let address = format!("nats://me:secret@{place}");
        let options = BrokerOptions { address, ..BrokerOptions::default() };
        let connected = block_on(async { Broker::connect(&options, "test").await.map(drop) });
        let Err(FleetError::Unreachable(message)) = connected else { panic!("{connected:?}") };
        assert!(message.contains(&place.to_string()) && !message.contains("secret"), "{message}");
    }
}
