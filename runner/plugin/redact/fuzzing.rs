//! Whether a secret is found in every form in which a guest is likely to say it, however what it says comes and is cut.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use wasmtime_wasi::p2::OutputStream as _;

use super::{
    redactor::{MAX_REACH, Redactor, SEAM},
    stream::Stream,
};
use crate::plugin::{
    fuzzing::parts,
    listener::{Heard, Listener},
    sandbox::stdio::Capture,
    secrets::Secrets,
};

/// Longer ones only take longer.
const MAX_SECRET_BYTES: usize = 64;
/// As long as a text is made whose time is to be seen.
const LONG_TEXT_BYTES: usize = 64 * 1024;
/// Fewer bytes of a secret that are left at a cut tell nothing.
const MAX_REST: usize = 7;
/// What is written where a text is cut.
const NOTE_END: &str = " bytes dropped]\n";

/// The first part is the secret; then two bytes that say where a text is cut and in which pieces it comes, then what is
/// around the secret.
pub fn redaction(bytes: &[u8]) {
    let (secret, rest) = parts(bytes);
    let (Ok(secret), Some(([cut, pieces], around))) =
        (str::from_utf8(secret), rest.split_first_chunk())
    else {
        return;
    };
    if !(Secrets::MIN_REDACTED..=MAX_SECRET_BYTES).contains(&secret.len()) {
        return;
    }
    let values = BTreeMap::from([("KEY".to_owned(), secret.to_owned())]);
    let redactor = Arc::new(Redactor::new(&values).expect("it is long enough to be looked for"));
    let forms = forms(secret);
    let (before, after) = parts(around);
    let (before, after) = (
        String::from_utf8_lossy(before),
        String::from_utf8_lossy(after),
    );
    for (place, form) in forms.iter().enumerate() {
        let text = format!("{before}{form}{after}");
        let mut redacted = text.clone();
        redactor.text(&mut redacted);
        none_survives(&redactor, &forms, &redacted);
        if place == usize::from(*pieces) % forms.len() {
            captured(&redactor, &forms, &text, usize::from(*cut), *pieces);
            streamed(&redactor, &forms, &text, *pieces);
        }
    }
    if before.len() + after.len() > 64 {
        let piece = format!("{before}{secret}{after}");
        let mut long = piece.repeat(LONG_TEXT_BYTES / piece.len());
        redactor.cut_text(&mut long);
        none_survives(&redactor, &forms, &long);
    }
}

/// The secret in every form in which it must not survive, made by other code than that which looks for it.
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
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let lower_percent = secret.bytes().map(|byte| match byte {
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    });
    let lower_percent = lower_percent.collect();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
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
        lower_percent,
        percent,
        form,
        html,
        general_purpose::STANDARD.encode(secret),
        general_purpose::STANDARD_NO_PAD.encode(secret),
        general_purpose::URL_SAFE.encode(secret),
        general_purpose::URL_SAFE_NO_PAD.encode(secret),
    ]
}

fn none_survives(redactor: &Redactor, forms: &[String], text: &str) {
    // What stands for a secret may become one by accident, together with what is around it.
    for piece in text.split(redactor.mark(0)) {
        for form in forms {
            assert!(!piece.contains(form), "{form:?} in {piece:?}");
        }
    }
}

/// What comes in pieces is redacted as if it came at once.
fn streamed(redactor: &Arc<Redactor>, forms: &[String], text: &str, pieces: u8) {
    let redacted = |size: usize| {
        let mut stream = Stream::new(Arc::clone(redactor));
        let given = text.as_bytes().chunks(size).map(|piece| stream.push(piece));
        let mut given: Vec<u8> = given.collect::<Vec<_>>().concat();
        given.extend(stream.end());
        assert!(!stream.holds());
        String::from_utf8_lossy(&given).into_owned()
    };
    let whole = redacted(text.len());
    assert_eq!(redacted(1 + usize::from(pieces)), whole);
    none_survives(redactor, forms, &whole);
}

/// What a guest writes is the same in whatever pieces it comes, and has no secret in it where it is heard and where it is
/// cut.
fn captured(redactor: &Arc<Redactor>, forms: &[String], text: &str, cut: usize, pieces: u8) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let write = |size: usize| {
        let ear = Arc::clone(&heard);
        let listener = Arc::clone(redactor).listener(Listener::new(move |heard| {
            if let Heard::Stdout(line) = heard {
                let mut lines = ear.lock().expect("nobody panics while holding it");
                lines.push(line.to_owned());
            }
        }));
        let mut capture = Capture::new(cut as u64, 8 + cut as u64 / 2)
            .heard_by(move |line| listener.hear(Heard::Stdout(line)));
        for piece in text.as_bytes().chunks(size) {
            let written = capture.write(Bytes::copy_from_slice(piece));
            written.expect("what is captured never fails");
        }
        capture.end();
        let mut lines = heard.lock().expect("nobody panics while holding it");
        (capture.text(), std::mem::take(&mut *lines))
    };
    let (whole, lines) = write(text.len());
    assert_eq!(
        write(1 + usize::from(pieces)),
        (whole.clone(), lines.clone())
    );
    for line in &lines {
        none_survives(redactor, forms, line);
    }

    let mut redacted = whole;
    redactor.cut_text(&mut redacted);
    none_survives(redactor, forms, &redacted);
    let Some((head, tail)) = redacted.split_once(NOTE_END) else {
        return;
    };
    let Some((head, _)) = head.rsplit_once("\n[") else {
        return;
    };
    // Of several notes all but one are the guest's own.
    if text.contains(NOTE_END.trim_end()) || SEAM.find_iter(&forms[0]).count() > MAX_REACH {
        return;
    }
    let head = head.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let tail = tail.trim_start_matches(char::REPLACEMENT_CHARACTER);
    let is_left = |text: &str, rest: Option<&str>, holds: fn(&str, &str) -> bool| {
        // What stands for a secret may look like a part of it.
        !holds(text, redactor.mark(0)) && rest.is_some_and(|rest| holds(text, rest))
    };
    for form in forms {
        for length in MAX_REST + 1..form.len() {
            let (first, last) = (form.get(..length), form.get(form.len() - length..));
            assert!(
                !is_left(head, first, |text, end| text.ends_with(end)),
                "{head:?}"
            );
            assert!(
                !is_left(tail, last, |text, start| text.starts_with(start)),
                "{tail:?}"
            );
        }
    }
}
