//! Headers of requests, into which the host fills secrets, and headers of responses.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use runner_model::grants::{BoundSecret, Grant};
use runner_model::{NetGrant, units::show_size, visible::visible_line};
use url::Url;

use super::failure::{Failure, MAX_HEAD};
use super::policy::{Refusal, origin};
use crate::secrets::{FillError, HeaderPlace};
use crate::{Redactor, Secrets};

/// Bytes of a refused header's name in a message.
const SHOWN_NAME: usize = 64;
/// Headers that control the connection to the next server (RFC 9110, section 7.6.1), name another
/// server, or upgrade the connection.
pub(super) const FORBIDDEN: [HeaderName; 12] = [
    header::CONNECTION,
    header::HOST,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Parses the headers of a request of the contract.
pub(super) fn read(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let bad = |what: &str| {
            // No part of a longer name: redaction would not find the start of a secret.
            let header = if name.len() <= SHOWN_NAME {
                format!("the header `{}`", visible_line(name))
            } else {
                format!("a header whose name has {} bytes", name.len())
            };
            Failure::Invalid(format!("{header} {what}"))
        };
        let known =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("has an invalid name"))?;
        if known == header::CONTENT_LENGTH || FORBIDDEN.contains(&known) {
            return Err(bad("is set by the host; leave it out"));
        }
        let value = from_latin_1(value).ok_or_else(|| {
            bad("has a value with line breaks, other control characters, or characters outside of Latin-1")
        })?;
        map.try_append(known, value).map_err(|_| bad("is one too many"))?;
    }
    Ok(map)
}

/// Fills secrets into the headers of a request, if the provider may use them. Stops at headers that
/// are too large.
pub(super) fn fill(headers: &mut HeaderMap, secrets: &Secrets, url: &Url) -> Result<(), Failure> {
    let mut bytes = size(headers);
    if bytes > MAX_HEAD {
        return Err(too_large());
    }
    for (name, value) in headers.iter_mut() {
        let text = to_latin_1(value);
        let place = HeaderPlace { url, header: name.as_str() };
        // One byte of a header may be two of a string.
        let filled = secrets.fill(&text, 2 * MAX_HEAD, place).map_err(|error| match error {
            FillError::Missing(secret) => refuse(&secret),
            FillError::WrongPlace(secret, places) => refuse_place(&secret, &places, place),
            FillError::TooLong => too_large(),
        })?;
        if filled != text {
            bytes -= value.len();
            *value = from_latin_1(&filled).ok_or_else(|| unfit(name))?;
            // The value has a secret, which debug output of the client would print.
            value.set_sensitive(true);
            bytes += value.len();
        }
        if bytes > MAX_HEAD {
            return Err(too_large());
        }
    }
    Ok(())
}

/// Returns the bytes of all names and values.
pub(super) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Removes headers of one connection, with those that `connection` names (RFC 9110, section 7.6.1). Such headers are
/// about the transport, and differ between connections.
pub(super) fn remove_of_connection(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    named.iter().chain(&FORBIDDEN).for_each(|name| drop(headers.remove(name)));
}

/// Converts the headers of a response for the contract.
pub(super) fn write(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), to_latin_1(value))).collect()
}

/// Requests a whole, uncompressed response. In a part or in compressed data, an echoed secret would not
/// be found, and would reach the guest or the journal.
pub(super) fn request_plain_response(headers: &mut HeaderMap) {
    for name in [header::RANGE, header::IF_RANGE, header::ACCEPT_ENCODING] {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Returns whether a response is encoded, so that secrets in it cannot be found.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    [header::CONTENT_ENCODING, header::TRANSFER_ENCODING].iter().any(|name| {
        headers.get_all(name).iter().any(|value| {
            let value = value.as_bytes().trim_ascii().to_ascii_lowercase();
            value != b"identity" && value != b"chunked"
        })
    })
}

/// Redacts the headers or trailers of a response. Removes the length, because redaction changes it.
pub(super) fn redact(headers: &mut HeaderMap, unseen: &Redactor) {
    headers.remove(header::CONTENT_LENGTH);
    let leaking = headers.keys().filter(|name| unseen.is_in(name.as_str().as_bytes())).cloned();
    for name in leaking.collect::<Vec<_>>() {
        headers.remove(name);
    }
    for value in headers.values_mut() {
        if let Some(redacted) = unseen.bytes(value.as_bytes()) {
            *value = HeaderValue::from_bytes(&redacted)
                .unwrap_or_else(|_| HeaderValue::from_static("***"));
        }
    }
}

fn to_latin_1(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

fn from_latin_1(text: &str) -> Option<HeaderValue> {
    let bytes: Option<Vec<u8>> =
        text.chars().map(|character| u8::try_from(character).ok()).collect();
    HeaderValue::from_bytes(&bytes?).ok()
}

fn refuse(secret: &str) -> Failure {
    let what = format!("the secret `{secret}`");
    let message = format!("{what} is not granted");
    Refusal::new(what, &message, Grant::secret(secret)).into()
}

fn refuse_place(secret: &str, places: &[BoundSecret], place: HeaderPlace<'_>) -> Failure {
    let HeaderPlace { url, header } = place;
    let what =
        format!("the secret `{secret}` in the header `{header}` of a request to {}", origin(url));
    let places = places.iter().map(|bound| format!("`{}` of {}", bound.header, bound.host));
    let places = places.collect::<Vec<_>>();
    let message = format!("{what} is not granted; it is only for {}", places.join(", "));
    let bound = NetGrant::of(url).map(|host| BoundSecret {
        name: secret.to_owned(),
        host,
        header: header.to_owned(),
    });
    Refusal::new(what, &message, bound.map(Grant::BoundSecret)).into()
}

fn too_large() -> Failure {
    Failure::Invalid(format!(
        "the request's headers have more than {}, and no more can be sent",
        show_size(MAX_HEAD as u64)
    ))
}

fn unfit(name: &HeaderName) -> Failure {
    Failure::Invalid(format!(
        "a secret in the header `{name}` has line breaks, other control characters, or characters outside of Latin-1; check \
         whether its value ends with a line break that is not part of it"
    ))
}
