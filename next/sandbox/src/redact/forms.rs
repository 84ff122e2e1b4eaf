//! The forms that a value commonly takes on its way into a text.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use url::Host;

/// A line of a value that has several is a secret of its own from this length on, in bytes: logs are written by lines.
const MIN_LINE: usize = 8;
/// Where programs break lines of base64: PEM (RFC 7468) and MIME (RFC 2045).
const COLUMNS: [usize; 2] = [64, 76];
/// What percent-encoding leaves as it is beside letters and digits, in the common libraries. A `+` first stands for a blank.
const KEPT: [&str; 7] =
    ["-_.~", "-_.!~*'()", "-_.!~*'();,/?:@&=+$#", "-_.~/", "+*-._", "+-_.~", ""];

/// Every form of `value` that has at least `min` bytes. Nothing for a value that is shorter itself.
pub(super) fn of(value: &str, min: usize) -> BTreeSet<Vec<u8>> {
    let lines = value.lines().filter(|line| line.len() >= MIN_LINE);
    let values: BTreeSet<_> =
        [value, value.trim()].into_iter().chain(lines).filter(|value| value.len() >= min).collect();
    let mut forms = BTreeSet::new();
    for value in values {
        add(value, &mut forms);
    }
    forms.retain(|form| form.len() >= min);
    forms
}

fn add(value: &str, forms: &mut BTreeSet<Vec<u8>>) {
    // Names of headers and hosts have lower case alone, variables often upper case.
    for text in [value.to_lowercase(), value.to_uppercase()] {
        forms.extend(percent(text.as_bytes()).map(String::into_bytes));
        forms.insert(text.into_bytes());
    }
    // Rust's escapes, which those of our own messages are like; and JSON inside of JSON, which is common where programs log
    // what they send.
    let escaped = [
        value.escape_debug().to_string(),
        value.escape_default().to_string(),
        json_text(&json_text(value)),
    ];
    let texts = json(value).into_iter().chain(escaped);
    let texts = texts.chain(host(value)).chain(html(value));
    forms.extend(texts.map(String::into_bytes));
    add_bytes(value.as_bytes(), forms);
    // Headers have one byte for each character, and servers repeat what they were sent.
    let latin_1: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
    let others = latin_1.iter().filter(|_| !value.is_ascii());
    others.for_each(|bytes| add_bytes(bytes, forms));
}

fn add_bytes(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    let mut texts: BTreeSet<_> = percent(value).collect();
    texts.insert(value.escape_ascii().to_string());
    texts.extend([false, true].map(|is_upper| hex("", value, is_upper)));
    for text in base64(value) {
        // In a URL `+`, `/` and `=` are encoded again, in JSON some write `\/`.
        texts.extend(percent(text.as_bytes()));
        texts.insert(text.replace('/', "\\/"));
        texts.insert(text);
    }
    forms.extend(texts.into_iter().map(String::into_bytes));
    forms.insert(value.to_owned());
}

/// As the host of a URL, or as one label of its name, is written once it has been read: decoded, in lower case, in
/// punycode, and an address in its usual form.
fn host(value: &str) -> impl Iterator<Item = String> {
    let read = |text: &str| Host::parse(text).ok().map(|host| host.to_string());
    let whole = read(value);
    // What a number at its end makes an address is a name with this behind it.
    let label = read(&format!("{value}.example"))
        .and_then(|name| name.strip_suffix(".example").map(str::to_owned));
    [whole, label].into_iter().flatten()
}

/// As strings of JSON, without the quotes around them.
fn json(value: &str) -> [String; 5] {
    let plain = json_text(value);
    [
        plain.replace('/', "\\/"),
        // Go's.
        plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        ascii(&plain, |unit| format!("\\u{unit:04x}")),
        ascii(&plain, |unit| format!("\\u{unit:04X}")),
        plain,
    ]
}

fn json_text(value: &str) -> String {
    let text = serde_json::Value::from(value).to_string();
    text[1..text.len() - 1].to_owned()
}

fn ascii(text: &str, escape: fn(u16) -> String) -> String {
    let mut units = [0; 2];
    text.chars().fold(String::new(), |mut ascii, character| {
        match character {
            '\0'..='\x7e' => ascii.push(character),
            _ => {
                let units = character.encode_utf16(&mut units).iter();
                ascii.extend(units.map(|unit| escape(*unit)));
            }
        }
        ascii
    })
}

fn html(value: &str) -> impl Iterator<Item = String> {
    let plain = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quotes = ["&quot;", "&#34;", "\""];
    let apostrophes = ["&#39;", "&#x27;", "&apos;", "'"];
    quotes.into_iter().flat_map(move |quote| {
        let quoted = plain.replace('"', quote);
        apostrophes.map(|apostrophe| quoted.replace('\'', apostrophe))
    })
}

/// Percent-encoded as the common libraries do it, and every byte of it.
fn percent(value: &[u8]) -> impl Iterator<Item = String> {
    [false, true].into_iter().flat_map(move |is_upper| {
        let kept = KEPT.map(|kept| percent_keeping(value, kept, is_upper));
        kept.into_iter().chain([hex("%", value, is_upper)])
    })
}

fn percent_keeping(value: &[u8], kept: &str, is_upper: bool) -> String {
    let (has_plus, kept) = match kept.strip_prefix('+') {
        Some(kept) => (true, kept),
        None => (false, kept),
    };
    value.iter().fold(String::new(), |mut text, &byte| {
        let character = char::from(byte);
        match character {
            ' ' if has_plus => text.push('+'),
            _ if character.is_ascii_alphanumeric() => text.push(character),
            _ if character.is_ascii() && kept.contains(character) => text.push(character),
            _ => push_hex(&mut text, "%", byte, is_upper),
        }
        text
    })
}

/// Every byte in hex, with `prefix` before it.
fn hex(prefix: &str, value: &[u8], is_upper: bool) -> String {
    value.iter().fold(String::new(), |mut text, byte| {
        push_hex(&mut text, prefix, *byte, is_upper);
        text
    })
}

fn push_hex(text: &mut String, prefix: &str, byte: u8, is_upper: bool) {
    // A string takes whatever is written to it.
    let _ = match is_upper {
        true => write!(text, "{prefix}{byte:02X}"),
        false => write!(text, "{prefix}{byte:02x}"),
    };
}

/// In base64, alone and as the part of a longer text that is the value's wherever in it the value begins.
fn base64(value: &[u8]) -> Vec<String> {
    let alone = [
        STANDARD.encode(value),
        STANDARD_NO_PAD.encode(value),
        URL_SAFE.encode(value),
        URL_SAFE_NO_PAD.encode(value),
    ];
    let inside = (0..3).flat_map(|before| {
        let bytes = [&[0; 3][..before], value].concat();
        // Characters that hold a bit of something else are not the value's own.
        let own = (8 * before).div_ceil(6)..8 * bytes.len() / 6;
        [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD]
            .map(|engine| engine.encode(&bytes)[own.clone()].to_owned())
    });
    let inside: Vec<_> = inside.collect();
    // The second one ends where the value does, whatever comes then: many write a line break behind it.
    let lines = [&alone[0], &inside[0]].map(|text| lines(text));
    let all = alone.iter().chain(&inside).cloned();
    all.chain(lines.concat()).collect()
}

/// The lines of a text in base64 that is broken into lines.
fn lines(text: &str) -> Vec<String> {
    let broken = COLUMNS.into_iter().filter(|columns| text.len() > *columns);
    let lines = broken.flat_map(|columns| text.as_bytes().chunks(columns));
    lines
        .filter(|line| line.len() >= MIN_LINE)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
}
