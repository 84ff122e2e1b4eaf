//! A secret is found in all its common forms, in pieces of any size.

use std::{collections::BTreeMap, sync::Arc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::Value;

use super::{MIN_BYTES, Redactor};

/// Longer secrets only take longer.
const MAX_SECRET_BYTES: usize = 64;

/// The input has the secret, a byte for the size of pieces, and the text around the secret.
pub fn redaction(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0xff);
    let mut part = || parts.next().unwrap_or_default();
    let (Ok(secret), Some((pieces, around))) = (str::from_utf8(part()), part().split_first())
    else {
        return;
    };
    if !(MIN_BYTES..=MAX_SECRET_BYTES).contains(&secret.len()) {
        return;
    }
    let values = BTreeMap::from([("KEY".to_owned(), secret.to_owned())]);
    let redactor = Arc::new(Redactor::new(&values).expect("it is long enough to be looked for"));
    let forms = forms(secret);
    let (before, after) = around.split_at(around.len() / 2);
    let before = String::from_utf8_lossy(before);
    let after = String::from_utf8_lossy(after);
    for form in &forms {
        let text = format!("{before}{form}{after}");
        let mut redacted = text.clone();
        redactor.text(&mut redacted);
        none_survives(&redactor, &forms, &redacted);
        assert_eq!(streamed(&redactor, &text, 1 + usize::from(*pieces)), redacted);
    }
}

/// Returns all forms that must not survive. This code is independent of the redactor's.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let json = |text: &str| {
        let text = Value::from(text).to_string();
        text[1..text.len() - 1].to_owned()
    };
    let hex = |prefix: &str| -> String {
        let bytes = secret.bytes();
        bytes.map(|byte| format!("{prefix}{byte:02x}")).collect()
    };
    let ascii = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units).iter();
            units.map(|unit| format!("\\u{unit:04x}")).collect()
        }
    };
    let percent = |escape: fn(u8) -> String| -> String {
        let bytes = secret.bytes();
        bytes
            .map(|byte| match byte {
                _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => escape(byte),
            })
            .collect()
    };
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    vec![
        secret.to_owned(),
        secret.to_lowercase(),
        secret.to_uppercase(),
        json(secret),
        json(&json(secret)),
        json(secret).chars().map(ascii).collect(),
        hex(""),
        hex("").to_uppercase(),
        hex("%"),
        hex("%").to_uppercase(),
        percent(|byte| format!("%{byte:02x}")),
        percent(|byte| format!("%{byte:02X}")),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        html,
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ]
}

pub(super) fn none_survives(redactor: &Redactor, forms: &[String], text: &str) {
    // A mark and the text around it may form a secret by accident.
    for piece in text.split(&*redactor.marks[0]) {
        for form in forms {
            assert!(!piece.contains(form), "{form:?} in {piece:?}");
        }
    }
}

/// Redacts a text in pieces of `size` bytes.
fn streamed(redactor: &Arc<Redactor>, text: &str, size: usize) -> String {
    let mut stream = redactor.stream();
    let given = text.as_bytes().chunks(size).map(|piece| stream.push(piece));
    let mut given: Vec<u8> = given.collect::<Vec<_>>().concat();
    given.extend(stream.end());
    assert!(!stream.holds());
    String::from_utf8(given).expect("whole characters are replaced")
}
