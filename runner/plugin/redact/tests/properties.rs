//! What holds for all secrets and texts.

use std::{collections::BTreeMap, io::Write as _};

use base64::{Engine as _, engine::general_purpose};
use proptest::prelude::*;

use super::{cut, redacted, redactor};
use crate::plugin::redact::{
    artifacts::Marking, forms::SecretForm, fuzzing::forms, redactor::Redactor, rests::Rests,
};

proptest! {
    #[test]
    fn no_form_of_a_secret_survives(
        secret in "[ -~]{8,40}|\\PC{8,20}|[a-zA-Z0-9+/_-]{8,80}",
        before in "\\PC{0,40}",
        after in "\\PC{0,40}",
    ) {
        let redactor = redactor(&[("KEY", &secret)]);
        for form in forms(&secret) {
            let text = redacted(&redactor, &format!("{before}{form}{after}"));
            for survivor in forms(&secret) {
                prop_assert!(!text.contains(&survivor), "{survivor:?} in {text:?}");
            }
        }
        for encode in [general_purpose::STANDARD, general_purpose::URL_SAFE_NO_PAD] {
            let whole = encode.encode(format!("{before}{secret}{after}"));
            prop_assert!(redacted(&redactor, &whole) != whole);
        }
    }

    #[test]
    fn base64_that_is_broken_into_lines_is_found(
        secret in "[ -~]{50,300}",
        columns in prop_oneof![Just(64), Just(76)],
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\\n")],
        behind in prop_oneof![Just(""), Just("\n")],
    ) {
        let redactor = redactor(&[("KEY", &secret)]);
        let whole = general_purpose::STANDARD.encode(format!("{secret}{behind}"));
        let lines: Vec<_> = whole
            .as_bytes()
            .chunks(columns)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let text = redacted(&redactor, &lines.join(end));
        for line in lines {
            // The last one may be too short to tell anything.
            prop_assert!(line.len() < 12 || !text.contains(line), "{line:?} in {text:?}");
        }
    }

    #[test]
    fn the_longest_rest_of_a_form_is_found(
        first in "[ab]{4,20}|(ab){2,30}",
        second in "[ab]{9,30}|(aab){3,30}|a{9,90}",
        // Where it repeats itself there are more places to compare than are compared one by one.
        text in "[ab]{0,40}|[ab]{0,3}(ab){0,50}[ab]{0,3}|[ab]{0,3}(aab){0,40}[ab]{0,3}|a{0,90}b?",
    ) {
        let form = |bytes: String| SecretForm { bytes: bytes.into_bytes(), secret: 0 };
        let forms = [form(first), form(second)];
        let rests = Rests::new(&forms);
        let text = text.as_bytes();
        let longest = |is_rest: &dyn Fn(&[u8], usize) -> bool| {
            let lengths = (8..=text.len()).rev();
            let mut lengths = lengths.filter(|length| {
                forms.iter().any(|form| *length <= form.bytes.len() && is_rest(&form.bytes, *length))
            });
            lengths.next()
        };
        let at_start = longest(&|form, length| text.starts_with(&form[form.len() - length..]));
        let at_end = longest(&|form, length| text.ends_with(&form[..length]));
        prop_assert_eq!(rests.at_start(text, &forms).map(|(length, _)| length), at_start);
        prop_assert_eq!(rests.at_end(text, &forms).map(|(length, _)| length), at_end);
        let is_open = |form: &[u8], length| form.len() > length && text.ends_with(&form[..length]);
        prop_assert_eq!(rests.open_at_end(text, &forms), longest(&is_open));
    }

    #[test]
    fn a_cut_leaves_no_long_part_of_a_secret(
        secret in "[a-zA-Z0-9]{16,60}",
        before in "[ -~]{0,40}",
        place in 0.0..1.0_f64,
    ) {
        let redactor = redactor(&[("KEY", &secret)]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
        let place = (place * secret.len() as f64) as usize;
        let (head, tail) = secret.split_at(place);
        let text = cut(&redactor, &format!("{before}{head}\n[9 bytes dropped]\n{tail}{before}"));
        for window in secret.as_bytes().windows(8) {
            let window = std::str::from_utf8(window).unwrap();
            // What stood there before was nobody's secret, unless by accident.
            prop_assume!(!before.contains(window));
            let (kept_head, kept_tail) = text.split_once("\n[9 bytes dropped]\n").unwrap();
            prop_assert!(!kept_head.ends_with(window) && !kept_tail.starts_with(window), "{text:?}");
        }
    }

    /// Of secrets that are parts of each other, and overlap.
    #[test]
    fn an_artifact_is_redacted_as_if_it_came_at_once(
        secrets in prop::collection::btree_set("[ab]{4,12}", 1..4),
        text in prop::collection::vec(prop_oneof![Just("ab"), Just("b"), Just("aaa"), Just("-")], 0..400),
        sizes in prop::collection::vec(1..60_usize, 1..10),
    ) {
        let values: BTreeMap<_, _> = secrets
            .into_iter()
            .enumerate()
            .map(|(number, secret)| (format!("K{number}"), secret))
            .collect();
        let redactor = Redactor::new(&values).unwrap();
        let text = text.concat();
        let mut told = Vec::new();
        let mut marking = Marking::looking_at(&redactor, sizes[0], |piece| {
            told.extend_from_slice(piece);
            Ok(())
        });
        let (mut rest, mut sizes) = (text.as_bytes(), sizes.into_iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().unwrap().min(rest.len());
            marking.write_all(&rest[..size]).unwrap();
            rest = &rest[size..];
        }
        marking.end().unwrap();
        let mut expected = Vec::new();
        let mut kept = 0;
        for found in redactor.finder.find_iter(&text) {
            expected.extend_from_slice(&text.as_bytes()[kept..found.start()]);
            let secret = redactor.forms[found.pattern().as_usize()].secret;
            expected.extend_from_slice(redactor.mark_within(secret, found.len()).as_bytes());
            kept = found.end();
        }
        expected.extend_from_slice(&text.as_bytes()[kept..]);
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn what_has_no_secret_in_it_stays_as_it_is(text in "[a-m \\n]{0,200}") {
        let redactor = redactor(&[("KEY", "nopqrstuvwxyz")]);
        prop_assert_eq!(cut(&redactor, &text), text);
    }
}
