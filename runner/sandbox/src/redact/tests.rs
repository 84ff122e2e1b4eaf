//! Secrets are found in all their forms, and nothing else is redacted.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Redactor, fuzzing::forms, values::DistinctNames};
use crate::{Secrets, tests::random::Numbers};

const SECRET: &str = "s3cr3t/with \"quotes\"+ä";

fn redactor(values: &[(&str, &str)]) -> Arc<Redactor> {
    let values = values.iter();
    let values = values.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Arc::new(Redactor::new(&values.collect()).unwrap())
}

fn redacted(redactor: &Redactor, text: &str) -> String {
    let mut text = text.to_owned();
    redactor.text(&mut text);
    text
}

#[test]
fn every_form_of_a_secret_is_replaced() {
    let redactor = redactor(&[("KEY", SECRET)]);
    for form in forms(SECRET) {
        assert_eq!(redacted(&redactor, &format!("a {form} b")), "a [secret KEY] b", "{form}");
    }
    assert_eq!(redacted(&redactor, "nothing in here"), "nothing in here");
}

#[test]
fn no_form_of_a_secret_survives() {
    let mut numbers = Numbers(7);
    let printable: String = (' '..='~').collect();
    for round in 0..200 {
        let characters = ["aZ9+/_-", &printable, "äß€\u{1f512}\u{85}\t\"\\<&'ab"][round % 3];
        let secret = numbers.text(characters, 8..40);
        let redactor = redactor(&[("KEY", &secret)]);
        let before = numbers.text("xyz \u{e4}\"%", 0..20);
        let after = numbers.text("xyz \u{e4}\"%", 0..20);
        for form in forms(&secret) {
            let text = redacted(&redactor, &format!("{before}{form}{after}"));
            for survivor in forms(&secret) {
                assert!(!text.contains(&survivor), "{survivor:?} in {text:?}");
            }
        }
    }
}

#[test]
fn secret_is_found_in_urls_and_headers() {
    for (secret, text) in [
        ("S3cretValue", "http://s3cretvalue.example.com:81"),
        ("S3cretValue", "x-S3CRETVALUE"),
        ("s%65cret-%41bc", "http://secret-abc/"),
        ("B\u{fc}cherSecret", "http://xn--bchersecret-thb.example/"),
        ("0x7f.0.0.0x1", "http://127.0.0.1/"),
        ("tab\tand\u{7f}del", r"tab\tand\u{7f}del"),
        ("line\u{85}break", r"line\u{85}break"),
    ] {
        let redactor = redactor(&[("KEY", secret)]);
        let told = redacted(&redactor, text);
        assert!(told.contains("[secret KEY]"), "{secret:?} in {told:?}");
    }
}

#[test]
fn secret_is_found_in_any_case() {
    let redactor = redactor(&[("KEY", SECRET)]);
    for form in forms(SECRET) {
        let mut is_upper = false;
        let mixed = form.chars().map(|character| {
            is_upper = !is_upper;
            if is_upper { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() }
        });
        let mixed: String = mixed.collect();
        assert_eq!(redacted(&redactor, &format!("a {mixed} b")), "a [secret KEY] b", "{form}");
    }
}

#[test]
fn secret_is_found_as_its_header_is_sent() {
    let secret = "p\u{e4}ssw\u{f6}rd/1";
    let redactor = redactor(&[("KEY", secret)]);
    let sent: Vec<u8> = secret.chars().map(|letter| letter as u8).collect();
    for told in [
        sent.clone(),
        STANDARD.encode(&sent).into_bytes(),
        b"p%E4ssw%F6rd%2F1".to_vec(),
        br"p\xe4ssw\xf6rd/1".to_vec(),
        b"70e4737377f672642f31".to_vec(),
        b"P\xc4SSW\xd6RD/1".to_vec(),
        b"P%C4SSW%D6RD%2F1".to_vec(),
    ] {
        assert_eq!(redactor.bytes(&told).unwrap(), b"[secret KEY]");
    }
}

#[test]
fn secret_inside_longer_base64_is_found() {
    let redactor = redactor(&[("KEY", "correct horse")]);
    for before in ["", "u", "us", "use", "user:"] {
        for after in ["", "x", "xy", "xyz"] {
            let text = STANDARD.encode(format!("{before}correct horse{after}"));
            let text = redacted(&redactor, &text);
            assert!(text.contains("[secret KEY]"), "{text}");
            // At most a character at each end that holds other bits, too, and the text around the
            // secret.
            assert!(text.len() < "[secret KEY]".len() + 16, "{text}");
        }
    }
}

#[test]
fn secret_in_base64_lines_is_found() {
    let mut numbers = Numbers(11);
    let printable: String = (' '..='~').collect();
    for round in 0..60 {
        let secret = numbers.text(&printable, 50..300);
        let redactor = redactor(&[("KEY", &secret)]);
        let columns = [64, 76][round % 2];
        let end = ["\n", "\r\n", "\\n"][round % 3];
        let whole = STANDARD.encode(format!("{secret}{}", ["", "\n"][round / 2 % 2]));
        let lines = whole.as_bytes().chunks(columns);
        let lines: Vec<_> = lines.map(|line| str::from_utf8(line).unwrap()).collect();
        let text = redacted(&redactor, &lines.join(end));
        for line in lines {
            // A last line may be too short to be searched for.
            assert!(line.len() < 12 || !text.contains(line), "{line:?} in {text:?}");
        }
    }
}

/// The secrets contain each other, and overlap.
#[test]
fn stream_redacts_like_whole_text() {
    let mut numbers = Numbers(13);
    for round in 0..500 {
        let secrets: Vec<_> = (0..=numbers.below(3)).map(|_| numbers.text("ab", 4..12)).collect();
        let names = ["K0", "K1", "K2"];
        let values: Vec<_> = names.into_iter().zip(secrets.iter().map(|it| &**it)).collect();
        let redactor = redactor(&values);
        let text = numbers.text("abab-", 0..600);
        let mut stream = match round % 2 {
            0 => redactor.stream(),
            _ => redactor.stream_that_keeps_size(),
        };
        let whole = redactor.redacted(text.as_bytes(), text.len(), stream.keeps_size).0;
        let (mut told, mut rest) = (Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(1 + numbers.below(rest.len().min(90)));
            told.extend(stream.push(piece));
            assert!(stream.held.len() < 2 * redactor.finder.longest);
            rest = others;
        }
        told.extend(stream.end());
        assert_eq!(told, whole, "{secrets:?} in {text}");
        assert!(!stream.holds());
        if stream.keeps_size {
            assert!(told.len() <= text.len());
        }
    }
}

#[test]
fn redaction_never_enlarges_artifacts() {
    let redactor = redactor(&[("A_LONG_NAME", "abcd"), ("KEY", "0123456789abcdef")]);
    let mut stream = redactor.stream_that_keeps_size();
    let mut told = stream.push(b"abcd 0123456789abcdef abcdabcd");
    told.extend(stream.end());
    assert_eq!(told, b"*** [secret KEY] ******");
}

#[test]
fn text_without_secret_stays_as_it_is() {
    let mut numbers = Numbers(17);
    let redactor = redactor(&[("KEY", "nopqrstuvwxyz")]);
    for _ in 0..100 {
        let text = numbers.text("abcdefghijklm \n", 0..200);
        assert_eq!(redacted(&redactor, &text), text);
    }
}

/// Each form has thousands of places where it could start, and the text as many.
#[test]
fn long_repetitive_secret_is_cheap() {
    let secret = "ab".repeat(2_000);
    let long = redactor(&[("LONG", &secret)]);
    assert_eq!(redacted(&long, &format!("<{secret}>")), "<[secret LONG]>");

    let text = format!("-{}-", &secret[2..]).repeat(50);
    assert_eq!(redacted(&long, &text), text);
    // One byte at a time takes no longer.
    let mut stream = long.stream();
    let mut told = Vec::new();
    for byte in text.as_bytes() {
        told.extend(stream.push(&[*byte]));
    }
    told.extend(stream.end());
    assert!(told == text.as_bytes());
}

#[test]
fn equal_names_stay_different() {
    const KEYS: usize = 100_000;
    // Two forms that differ in their rest only.
    let redactor = redactor(&[("KEY", "abcdefgh")]);
    let forms = ["abcdefgh", "6162636465666768", "YWJjZGVmZ2g=", "YWJjZGVmZ2g"];
    let key = |number: usize| {
        let form = |place: u32| forms[number / 4_usize.pow(place) % 4];
        let key: Vec<_> = (0..9).map(form).collect();
        key.join("-")
    };
    let mut value: Value = (0..KEYS).map(|number| (key(number), json!(0))).collect();
    value["[secret KEY]"] = json!("kept");
    let value: Value = serde_json::from_str(&redactor.json(&value.to_string()).unwrap()).unwrap();
    let map = value.as_object().unwrap();
    assert_eq!(map.len(), KEYS + 1);
    assert_eq!(map["[secret KEY]"], "kept");
    let longest = map.keys().map(String::len).max().unwrap();
    assert!(longest < 9 * "[secret KEY]-".len() + 10, "{longest}");

    let taken = ["a".to_owned(), "a-2".to_owned()];
    let mut names: DistinctNames = taken.iter().collect();
    let distinct = ["a", "a", "b", "b"].map(|name| names.distinct(name.to_owned()));
    assert_eq!(distinct, ["a-3", "a-4", "b", "b-2"]);
}

#[test]
fn escaped_secrets_in_json_are_found() {
    let redactor = redactor(&[("KEY", "s3cret-value"), ("PIN", "12345678")]);
    for (text, expected) in [
        (r#"{"a":"s3cret-value"}"#, r#"{"a":"[secret KEY]"}"#),
        (r#"["\u0073\u0033cret\u002dvalue"]"#, r#"["[secret KEY]"]"#),
        (r#"{"s3cret-value":1,"[secret KEY]":2}"#, r#"{"[secret KEY]":2,"[secret KEY]-2":1}"#),
        ("[12345678,0.12345678,1.5]", r#"["[secret PIN]","0.[secret PIN]",1.5]"#),
        // Other numbers keep their digits.
        ("[12345678,987654321098765432109]", r#"["[secret PIN]",987654321098765432109]"#),
        // Invalid JSON is one text.
        (r#"{"s3cret-value"#, r#""{\"[secret KEY]""#),
    ] {
        assert_eq!(redactor.json(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["null", "[1234567,true]", r#""a\nb""#, r#"{"b":1,"a":1.0}"#] {
        assert_eq!(redactor.json(text), None, "{text}");
    }
    assert!(redactor.is_in_number(12_345_678.5) && !redactor.is_in_number(1.0));
}

#[test]
fn lines_of_a_secret_are_secrets() {
    let redactor = redactor(&[("PEM", "-----BEGIN-----\nMIIBVgIBADANBg\nkqhkiG9w\n--\n")]);
    assert_eq!(
        redacted(&redactor, "first MIIBVgIBADANBg\nthen kqhkiG9w\n--\n"),
        "first [secret PEM]\nthen [secret PEM]\n--\n"
    );
}

#[test]
fn the_longest_of_several_secrets_is_named() {
    let redactor = redactor(&[("A", "token"), ("B", "token-of-mine")]);
    assert_eq!(
        redacted(&redactor, "token-of-mine, token-of-yours"),
        "[secret B], [secret A]-of-yours"
    );
}

#[test]
fn mark_does_not_contain_its_secret() {
    assert_eq!(redacted(&redactor(&[("KEY", "[secret KEY")]), "x[secret KEY]"), "x[secret]]");
    assert_eq!(redacted(&redactor(&[("KEY", "secret")]), "a secret"), "a ***");
}

#[test]
fn short_values_are_not_redacted() {
    let values = BTreeMap::from([("PIN".to_owned(), "123".to_owned())]);
    assert!(Redactor::new(&values).is_none());
    assert!(Redactor::new(&BTreeMap::new()).is_none());
}

#[test]
fn the_longest_secret_is_looked_for() {
    let mut value: String = (0..9_000).map(|number| format!("{number:06}/")).collect();
    value.truncate(Secrets::MAX_BYTES);
    let redactor = redactor(&[("LONG", &value)]);
    assert_eq!(redacted(&redactor, &format!("<{value}>")), "<[secret LONG]>");
}

#[test]
fn large_secrets_take_little_memory() {
    let mut numbers = Numbers(19);
    let letters: String = ('0'..='9').chain('A'..='Z').chain('a'..='z').chain(['+', '/']).collect();
    let mut key = || {
        let lines: Vec<_> = (0..50).map(|_| numbers.text(&letters, 64..65)).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    };
    let keys: Vec<String> = (0..20).map(|_| key()).collect();
    let names: Vec<String> = (0..20).map(|number| format!("KEY_{number}")).collect();
    let values: Vec<_> = names.iter().zip(&keys).map(|(name, key)| (&**name, &**key)).collect();
    let redactor = redactor(&values);
    let bytes: usize = keys.iter().map(String::len).sum();
    let taken = redactor.finder.bytes();
    assert!(taken < 100 * bytes, "{taken} bytes for secrets of {bytes}");
    for (name, key) in values {
        let text = redacted(&redactor, &STANDARD.encode(key));
        assert!(text.len() < 20 && text.contains(name), "{text}");
        let line = key.lines().nth(7).unwrap();
        assert_eq!(redacted(&redactor, line), format!("[secret {name}]"));
    }
}
