//! Headers: those of a guest's request, with secrets filled in by the host, and those of a response.

use bytesize::ByteSize;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    failure::{Failure, MAX_HEAD},
    policy::Refusal,
};
use crate::{
    model::Grant,
    plugin::secrets::{FillError, Secrets},
};

/// Headers that are between the host and the next server: they say how a message is sent, and not what.
///
/// From RFC 9110, section 7.6.1, and what would name another server or upgrade the connection.
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

/// Reads the headers of a request as the contract has them.
pub(super) fn read(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let bad = |what: &str| Failure::Invalid(format!("the header {:?} {what}", shown(name)));
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad("has a name that no header may have"))?;
        if known == header::CONTENT_LENGTH || FORBIDDEN.contains(&known) {
            return Err(bad("is the host's to set; leave it out"));
        }
        let value = from_latin_1(value).ok_or_else(|| {
            bad("has a value with line breaks, other control characters or such that are not Latin-1")
        })?;
        map.try_append(known, value)
            .map_err(|_| bad("is one too many"))?;
    }
    Ok(map)
}

/// Puts the value of each secret where a header's value names it, if the provider may have it. What cannot be sent is
/// not filled in the first place.
pub(super) fn fill(headers: &mut HeaderMap, secrets: &Secrets) -> Result<(), Failure> {
    let mut bytes = size(headers);
    if bytes > MAX_HEAD {
        return Err(too_large());
    }
    for (name, value) in headers.iter_mut() {
        let text = to_latin_1(value);
        // What is one byte of a header may be two of a text.
        let filled = secrets
            .fill(&text, 2 * MAX_HEAD)
            .map_err(|error| match error {
                FillError::Missing(secret) => refuse(&secret),
                FillError::TooLong => too_large(),
            })?;
        if filled != text {
            bytes -= value.len();
            *value = from_latin_1(&filled).ok_or_else(|| unfit(name))?;
            value.set_sensitive(true);
            bytes += value.len();
        }
        if bytes > MAX_HEAD {
            return Err(too_large());
        }
    }
    Ok(())
}

/// Bytes of names and values.
pub(super) fn size(headers: &HeaderMap) -> usize {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    sizes.sum()
}

/// The headers of a response as the contract has them.
pub(super) fn write(headers: &HeaderMap) -> Vec<(String, String)> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.to_string(), to_latin_1(value)))
        .collect()
}

fn to_latin_1(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

fn from_latin_1(text: &str) -> Option<HeaderValue> {
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|character| u8::try_from(character).ok())
        .collect();
    HeaderValue::from_bytes(&bytes?).ok()
}

fn refuse(secret: &str) -> Failure {
    let what = format!("the secret `{secret}`");
    let message = format!("{what} is not granted");
    Failure::Denied(Refusal::new(what, &message, Grant::secret(secret)))
}

fn too_large() -> Failure {
    Failure::Invalid(format!(
        "the request's headers have more than {}, and no more can be sent",
        ByteSize(MAX_HEAD as u64)
    ))
}

fn unfit(name: &HeaderName) -> Failure {
    Failure::Invalid(format!(
        "a secret that the header \"{name}\" names has line breaks, other control characters or such that are not \
         Latin-1; see whether its value ends with a line break that is not part of it"
    ))
}

/// The beginning of something that may be long.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(64).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}
