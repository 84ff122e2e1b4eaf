//! Common encodings of a secret.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use url::Host;

/// Each line of a secret of at least this many bytes is a secret, too, because logs are written by
/// lines.
const MIN_LINE: usize = 8;
/// Line lengths of base64: PEM (RFC 7468) and MIME (RFC 2045).
const COLUMNS: [usize; 2] = [64, 76];
/// Characters other than letters and digits that the percent-encoding of common libraries keeps. A
/// `+` first encodes a blank as `+`.
const KEPT: [&str; 7] =
    ["-_.~", "-_.!~*'()", "-_.!~*'();,/?:@&=+$#", "-_.~/", "+*-._", "+-_.~", ""];

/// Passes every form of `value` to `add`, some of them repeatedly, and none in another case of ASCII letters. None if the value
/// has less than `min` bytes.
pub(super) fn each(value: &str, min: usize, add: &mut impl FnMut(&[u8])) {
    let lines = value.lines().filter(|line| line.len() >= MIN_LINE);
    let values: BTreeSet<_> =
        [value, value.trim()].into_iter().chain(lines).filter(|value| value.len() >= min).collect();
    for value in values {
        each_of_line(value, add);
    }
}

fn each_of_line(value: &str, add: &mut impl FnMut(&[u8])) {
    // Only other letters than those of ASCII become other forms.
    for text in [value.to_lowercase(), value.to_uppercase()] {
        for bytes in [Some(text.as_bytes()), latin_1(&text).as_deref()].into_iter().flatten() {
            percent(bytes).for_each(|text| add(text.as_bytes()));
            add(bytes);
        }
    }
    // Rust's escapes, like those of our own messages, and JSON inside JSON, which is common in logs
    // of requests.
    let escaped = [
        value.escape_debug().to_string(),
        value.escape_default().to_string(),
        json_text(&json_text(value)),
    ];
    let texts = json(value).into_iter().chain(escaped).chain(host(value)).chain(html(value));
    texts.for_each(|text| add(text.as_bytes()));
    each_of_bytes(value.as_bytes(), add);
    if let Some(bytes) = latin_1(value) {
        each_of_bytes(&bytes, add);
    }
}

/// Returns a text as headers have it, which servers echo: a byte for each character. `None` if it is of ASCII, or has others.
fn latin_1(text: &str) -> Option<Vec<u8>> {
    let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>().ok()?;
    (!text.is_ascii()).then_some(bytes)
}

fn each_of_bytes(value: &[u8], add: &mut impl FnMut(&[u8])) {
    add(value);
    add(value.escape_ascii().to_string().as_bytes());
    let mut add_encoded = |text: &str| {
        percent(text.as_bytes()).for_each(|text| add(text.as_bytes()));
        add(text.replace('/', "\\/").as_bytes());
        add(text.as_bytes());
    };
    // In URLs, `+`, `/` and `=` are encoded again. Some JSON writers escape `/`.
    base64(value).iter().for_each(|text| add_encoded(text));
    percent(value).for_each(|text| add(text.as_bytes()));
    add(hex("", value).as_bytes());
}

/// Returns the forms of a URL's host, and of a label of its name, after parsing: decoded, in lower
/// case and punycode, and an address in its usual form.
fn host(value: &str) -> impl Iterator<Item = String> {
    let read = |text: &str| Host::parse(text).ok().map(|host| host.to_string());
    let whole = read(value);
    // The suffix keeps a trailing number from being read as an address.
    let label = read(&format!("{value}.example"))
        .and_then(|name| name.strip_suffix(".example").map(str::to_owned));
    [whole, label].into_iter().flatten()
}

/// Returns the forms of a JSON string, without the quotes.
fn json(value: &str) -> [String; 4] {
    let plain = json_text(value);
    [
        plain.replace('/', "\\/"),
        // As Go writes it.
        plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        ascii(&plain),
        plain,
    ]
}

fn json_text(value: &str) -> String {
    let text = serde_json::Value::from(value).to_string();
    text[1..text.len() - 1].to_owned()
}

fn ascii(text: &str) -> String {
    let mut units = [0; 2];
    text.chars().fold(String::new(), |mut ascii, character| {
        match character {
            '\0'..='\x7e' => ascii.push(character),
            _ => {
                let units = character.encode_utf16(&mut units).iter();
                ascii.extend(units.map(|unit| format!("\\u{unit:04x}")));
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

/// Percent-encodes as the common libraries do, and every byte.
fn percent(value: &[u8]) -> impl Iterator<Item = String> {
    KEPT.map(|kept| percent_keeping(value, kept)).into_iter().chain([hex("%", value)])
}

fn percent_keeping(value: &[u8], kept: &str) -> String {
    let (has_plus, kept) = kept.strip_prefix('+').map_or((false, kept), |kept| (true, kept));
    value.iter().fold(String::new(), |mut text, &byte| {
        let character = char::from(byte);
        match character {
            ' ' if has_plus => text.push('+'),
            _ if character.is_ascii_alphanumeric() => text.push(character),
            _ if character.is_ascii() && kept.contains(character) => text.push(character),
            _ => push_hex(&mut text, "%", byte),
        }
        text
    })
}

/// Writes every byte in hex, with `prefix` before it.
fn hex(prefix: &str, value: &[u8]) -> String {
    value.iter().fold(String::new(), |mut text, byte| {
        push_hex(&mut text, prefix, *byte);
        text
    })
}

fn push_hex(text: &mut String, prefix: &str, byte: u8) {
    text.push_str(prefix);
    // Writing to a string never fails.
    let _ = write!(text, "{byte:02x}");
}

/// Encodes in base64: alone, and as part of a longer text, at each of the three offsets.
fn base64(value: &[u8]) -> Vec<String> {
    let alone = [
        STANDARD.encode(value),
        STANDARD_NO_PAD.encode(value),
        URL_SAFE.encode(value),
        URL_SAFE_NO_PAD.encode(value),
    ];
    let inside = (0..3).flat_map(|before| {
        let bytes = [&[0; 3][..before], value].concat();
        // The first and last character may hold bits of neighbours. Those are not the value's.
        let own = (8 * before).div_ceil(6)..8 * bytes.len() / 6;
        [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD]
            .map(|engine| engine.encode(&bytes)[own.clone()].to_owned())
    });
    let inside: Vec<_> = inside.collect();
    // The second ends with the value itself, before any other text. A line break is common.
    let lines = [&alone[0], &inside[0]].map(|text| lines(text));
    alone.iter().chain(&inside).cloned().chain(lines.concat()).collect()
}

/// Returns the lines of a base64 text that is broken into lines.
fn lines(text: &str) -> Vec<String> {
    let broken = COLUMNS.into_iter().filter(|columns| text.len() > *columns);
    let lines = broken.flat_map(|columns| text.as_bytes().chunks(columns));
    lines
        .filter(|line| line.len() >= MIN_LINE)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
}
