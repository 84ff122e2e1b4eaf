//! Captured standard output and standard error.

use std::{collections::BTreeMap, sync::Arc};

use wasmtime_wasi::p2::OutputStream as _;

use super::{CHUNK, Capture, MAX_CHUNK};
use crate::{Activity, redact::Redactor};

fn capture(head: u64, tail: u64, writes: &[&str]) -> Capture {
    let capture = Capture::new(head, tail);
    for text in writes {
        capture.lock().push(text.as_bytes());
    }
    capture
}

#[test]
fn short_output_is_kept_whole() {
    let capture = capture(4, 4, &["abc", "", "defgh"]);
    assert_eq!(capture.text(), "abcdefgh");
    assert_eq!(capture.take_whole(), Ok(b"abcdefgh".to_vec()));
}

#[test]
fn long_output_keeps_head_and_tail() {
    for writes in [&["0123456789abcdef"][..], &["0", "123456", "78", "9abcde", "f"]] {
        let capture = capture(4, 4, writes);
        assert_eq!(capture.text(), "0123\n… 8 B left out\ncdef");
        assert_eq!(capture.take_whole(), Err(16));
    }
    assert_eq!(capture(0, 0, &["abc"]).text(), "\n… 3 B left out\n");
}

/// Python loses the rest of a text that is accepted in part.
#[test]
fn long_text_is_accepted_whole_within_bounds() {
    for (asked, allowed) in [(0, CHUNK), (1 << 20, 1 << 20), (1 << 40, MAX_CHUNK as usize)] {
        let mut kept = capture(4, 4, &[]).with_writes_of(asked);
        assert_eq!(kept.check_write().unwrap(), allowed);
    }
}

#[test]
fn unused_reply_is_shortened() {
    let kept = capture(10, 0, &["0123456789abcdef"]);
    kept.shorten(3, None);
    assert_eq!(kept.text(), "012\n… 10 B left out\n789");
    assert_eq!(kept.written(), 16);
    let kept = capture(10, 0, &["0123"]);
    kept.shorten(3, None);
    assert_eq!(kept.text(), "0123");
}

#[test]
fn the_time_of_each_line_is_noted() {
    let kept = capture(100, 0, &[]).with_times(3, None);
    kept.lock().push(b"on");
    kept.lock().push(b"e\n\ntw");
    kept.lock().push(b"o\nthree\n");
    assert_eq!(kept.text().lines().count(), 4);
    assert_eq!(kept.take_times().len(), 3);
}

#[test]
fn secrets_are_redacted_before_cutting() {
    let values = BTreeMap::from([("KEY".to_owned(), "0123456789".to_owned())]);
    let redactor = Arc::new(Redactor::new(&values).unwrap());
    // No part of the value survives at any place.
    for before in 0..40 {
        let text = "-".repeat(before) + "0123456789" + &"-".repeat(40 - before);
        let whole = Capture::new(20, 20).redacted_by(Some(&redactor));
        for piece in text.as_bytes().chunks(3) {
            whole.lock().push(piece);
        }
        let kept = whole.text();
        assert!(!kept.contains(|letter| ('3'..='9').contains(&letter)), "{kept}");
        assert_eq!(whole.written(), 50);

        let activity = Activity::default();
        let shown = Capture::new(99, 0).raw().redacted_by(Some(&redactor)).shown_in(&activity);
        for piece in text.as_bytes().chunks(3) {
            shown.lock().push(piece);
            let shown = activity.output().text;
            assert!(!shown.contains(|letter: char| letter.is_ascii_digit()), "{shown}");
        }
        assert_eq!(activity.output().text, text.replace("0123456789", "[secret KEY]"));
        assert_eq!(shown.take_whole().as_deref(), Ok(text.as_bytes()));

        let reply = Capture::new(25, 0);
        reply.lock().push(text.as_bytes());
        reply.shorten(20, Some(&redactor));
        let kept = reply.text();
        let kept = kept.split("\n…").next().unwrap();
        assert!(!kept.contains(|letter: char| letter.is_ascii_digit()), "{kept}");
    }
}
