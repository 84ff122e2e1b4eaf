//! What is kept of a guest's standard output and error.

use super::Capture;

fn capture(head: u64, tail: u64, writes: &[&str]) -> Capture {
    let capture = Capture::new(head, tail);
    for text in writes {
        capture.kept().keep(text.as_bytes());
    }
    capture
}

#[test]
fn what_fits_is_kept_whole() {
    let capture = capture(4, 4, &["abc", "", "defgh"]);
    assert_eq!(capture.text(), "abcdefgh");
    assert_eq!(capture.take_whole(), Ok(b"abcdefgh".to_vec()));
}

#[test]
fn head_and_tail_are_kept_and_the_rest_is_counted() {
    for writes in [
        &["0123456789abcdef"][..],
        &["0", "123456", "78", "9abcde", "f"],
    ] {
        let capture = capture(4, 4, writes);
        assert_eq!(capture.text(), "0123\n[8 bytes dropped]\ncdef");
        assert_eq!(capture.take_whole(), Err(16));
    }
    assert_eq!(capture(0, 0, &["abc"]).text(), "\n[3 bytes dropped]\n");
}

#[test]
fn a_reply_that_came_to_nothing_is_shortened() {
    let kept = capture(10, 0, &["0123456789abcdef"]);
    kept.shorten(3);
    assert_eq!(kept.text(), "012\n[10 bytes dropped]\n789");
    assert_eq!(kept.written(), 16);
    let kept = capture(10, 0, &["0123"]);
    kept.shorten(3);
    assert_eq!(kept.text(), "0123");
}

#[test]
fn the_time_of_each_line_is_noted() {
    let kept = capture(100, 0, &[]).with_times(3);
    kept.kept().keep(b"on");
    kept.kept().keep(b"e\n\ntw");
    kept.kept().keep(b"o\nthree\n");
    assert_eq!(kept.text().lines().count(), 4);
    assert_eq!(kept.take_times().len(), 3);
}
