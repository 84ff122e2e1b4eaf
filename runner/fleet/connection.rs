//! [`EngineConnection`]: the connection to the engine, which is made again whenever it is lost.

use std::time::Duration;

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Subscriber, connection::State, subject::ToSubject,
};

use super::{EngineAddress, FleetError};

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked whether the engine is still there: a cut line is known after two of them.
const PING: Duration = Duration::from_secs(2);
/// How long is waited before it is tried to connect again, at most.
const RECONNECT: Duration = Duration::from_millis(500);
/// The oldest server that has what is needed.
const LEAST: &str = "2.11.0";

/// What to do where nobody answers.
const SERVER: &str =
    "is `nats-server` running there? `runner engine check URL` tells what is missing";
/// What to do where it does not know who one is.
const IDENTITY: &str =
    "say who you are there: `--engine-creds FILE`, or `nats://USER:PASSWORD@HOST`";
/// What to do where its certificate is not believed.
const CERTIFICATE: &str = "`--engine-ca FILE` names the certificates of whoever has signed the engine's own, which \
    cannot have signed itself; without it those of the system are asked";

/// The connection to the engine.
#[derive(Clone)]
pub(super) struct EngineConnection {
    pub(super) client: Client,
    pub(super) at: String,
}

impl EngineConnection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Fails if nobody answers, it refuses who one is, or it is too old.
    pub(super) async fn open(address: &EngineAddress, name: &str) -> Result<Self, FleetError> {
        let at = address.place();
        let refused = |reason: String, advice| FleetError::Connect {
            at: at.clone(),
            reason,
            advice,
        };
        let mut options = ConnectOptions::new()
            .name(name)
            // Whoever asks others is not to be its own answer.
            .no_echo()
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING)
            .require_tls(address.needs_tls())
            .reconnect_delay_callback(|attempts| match attempts {
                0 | 1 => Duration::from_millis(20),
                attempts => RECONNECT
                    .min(Duration::from_millis(50) * u32::try_from(attempts).unwrap_or(u32::MAX)),
            });
        if let Some((user, password)) = address.user() {
            options = options.user_and_password(user, password);
        }
        if let Some(path) = &address.authority {
            // The client would not say which file it is that is missing.
            fs_err::File::open(path).map_err(FleetError::io("read certificates"))?;
            options = options.add_root_certificates(path.clone());
        }
        if let Some(path) = &address.credentials {
            options = (options.credentials_file(path).await)
                .map_err(|error| refused(format!("`{}`: {error}", path.display()), IDENTITY))?;
        }
        // The address without who one is: that is said above.
        let client = options.connect(&at).await.map_err(|error| {
            let text = error.to_string();
            let advice = match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    IDENTITY
                }
                _ if text.contains("certificate") => CERTIFICATE,
                _ => SERVER,
            };
            // Its causes say the same again.
            refused(text, advice)
        })?;
        let version = client.server_info().version;
        if numbers(&version) < numbers(LEAST) {
            return Err(FleetError::Old {
                at,
                version,
                least: LEAST,
            });
        }
        Ok(Self { client, at })
    }

    /// Hears what is said about a subject from now on: whoever is spoken to by this connection afterwards, and answers, is
    /// heard.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not let this side hear.
    pub(super) async fn hear(&self, subject: impl ToSubject) -> Result<Subscriber, FleetError> {
        let heard = self.client.subscribe(subject).await;
        heard.map_err(FleetError::engine("let this side hear"))
    }

    /// Tells whether the engine can be spoken with at the moment.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split(['.', '-']).take(3);
    parts.map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::{LEAST, numbers};

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, is_enough) in [
            ("2.9.10", false),
            ("2.10.99", false),
            ("2.11.0", true),
            ("2.15.1", true),
            ("2.12.0-RC.1", true),
            ("3.0.0", true),
            ("", false),
        ] {
            assert_eq!(numbers(version) >= numbers(LEAST), is_enough, "{version}");
        }
    }
}
