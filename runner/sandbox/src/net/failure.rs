//! [`Failure`]: why a request has no response.

use std::{error::Error, io};

use hyper_util::client::legacy;
use runner_model::units::show_size;
use thiserror::Error;

use super::{connect::ConnectError, policy::Refusal};

/// Bytes of the head of a request or response.
pub(super) const MAX_HEAD: usize = 64 * 1024;
pub(super) const MAX_HEADERS: usize = 100;

/// Reason for a missing response. The text is for the plugin's author.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// No grant allows the request.
    #[error("{0}")]
    Denied(#[from] Refusal),
    /// The request cannot be sent.
    #[error("{0}")]
    Invalid(String),
    /// The server does not respond.
    #[error("{text}")]
    Unreachable { step: Step, text: String },
    /// The guest's own timeout has passed.
    #[error("no complete response within the request's timeout")]
    Timeout,
    #[error("{0}")]
    LargeHead(String),
    #[error("{text}")]
    LargeBody { limit: u64, text: String },
    /// The attempt has used up a limit.
    #[error("{0}")]
    UsedUp(String),
    /// The response is not HTTP, or has a form in which secrets cannot be found.
    #[error("{0}")]
    Garbage(String),
}

/// The step in which a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Lookup,
    Connect,
    Tls,
    Exchange,
}

impl Step {
    const ALL: [Self; 4] = [Self::Lookup, Self::Connect, Self::Tls, Self::Exchange];

    /// Returns the word for the journal.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Exchange => "exchange",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == word)
    }
}

impl Failure {
    pub(super) fn large_head(origin: &str) -> Self {
        Self::LargeHead(format!(
            "the response of `{origin}` has more than {} of headers, or more than {MAX_HEADERS} headers",
            show_size(MAX_HEAD as u64)
        ))
    }

    pub(super) fn large_body(origin: &str, limit: u64) -> Self {
        Self::LargeBody {
            limit,
            text: format!(
                "the response of `{origin}` has more than {}, which `limits.http_response` sets",
                show_size(limit)
            ),
        }
    }

    /// Converts an error of the client.
    pub(super) fn from_client(origin: &str, error: &legacy::Error) -> Self {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<ConnectError>() {
                return Self::from_connect(origin, error);
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                return Self::from_exchange(origin, error);
            }
            // The other errors of connecting come from the TLS handshake.
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Self::from_tls(origin, error);
            }
            cause = error.source();
        }
        Self::Unreachable { step: Step::Connect, text: format!("cannot reach `{origin}`: {error}") }
    }

    /// Converts an error during an exchange.
    pub(super) fn from_exchange(origin: &str, error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::large_head(origin);
        }
        if error.is_parse() {
            return Self::Garbage(format!(
                "the response of `{origin}` is not valid HTTP/1.1: {error}"
            ));
        }
        let error_chain = chain(error);
        if error.is_user() {
            // The guest's own body, for example with fewer bytes than it announced.
            return Self::Invalid(format!(
                "`{origin}`: the request's body ended early: {error_chain}"
            ));
        }
        Self::Unreachable {
            step: Step::Exchange,
            text: format!(
                "`{origin}`: the connection ended before the response was complete: {error_chain}"
            ),
        }
    }

    fn from_connect(origin: &str, error: &ConnectError) -> Self {
        let step = match error {
            ConnectError::Refused(refusal) => return Self::Denied(refusal.clone()),
            ConnectError::Lookup(_) => Step::Lookup,
            ConnectError::Connect { .. } => Step::Connect,
            ConnectError::Roots(_) => Step::Tls,
        };
        Self::Unreachable { step, text: format!("cannot reach `{origin}`: {}", chain(error)) }
    }

    fn from_tls(origin: &str, error: &io::Error) -> Self {
        let reason = match tls_error(error) {
            Some(error) => tls_problem(error).to_owned(),
            None => chain(error),
        };
        Self::Unreachable {
            step: Step::Tls,
            text: format!("cannot reach `{origin}` safely: {reason}"),
        }
    }
}

/// Returns the handshake's error, which is in errors of input and output.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner.downcast_ref()?))
}

/// Explains a failed handshake. The library's text has names of its own types.
fn tls_problem(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => {
                "this machine does not trust its certificate: install the authority's certificate, \
                 or name its file in `SSL_CERT_FILE`"
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "its certificate is not valid yet: check the clock of this machine"
            }
            Bad::Revoked => "its certificate was revoked",
            _ => "its certificate is invalid",
        },
        Error::InvalidMessage(_) => {
            "it does not answer with TLS; use `http:` for a server without TLS"
        }
        Error::PeerIncompatible(_) => "it supports no version of TLS that this client has",
        Error::AlertReceived(_) => "it refused the handshake",
        _ => "the handshake failed",
    }
}

/// Joins an error and its causes. Skips a cause whose text is in the error already.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
