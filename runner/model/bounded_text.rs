//! [`BoundedText`]: a text that is written by somebody who does not know where to stop.

use std::fmt;

/// Keeps the first bytes of what is written, and ends the writing when there is more: `write!` then fails, which whoever
/// calls may ignore.
#[derive(Debug)]
pub struct BoundedText {
    text: String,
    limit: usize,
    is_cut: bool,
}

impl BoundedText {
    /// Takes `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            is_cut: false,
        }
    }

    /// The first `limit` bytes of what `value` says, with `…` behind them where that is more.
    pub fn of(limit: usize, value: impl fmt::Display) -> String {
        let mut text = Self::new(limit);
        // What does not fit is what this is for.
        let _ = fmt::write(&mut text, format_args!("{value}"));
        text.finish()
    }

    /// What was kept, with `…` at its end where that is not all.
    pub fn finish(mut self) -> String {
        if self.is_cut {
            self.text.push('…');
        }
        self.text
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let room = self.limit - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        self.is_cut = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{self, Write as _};

    use super::BoundedText;

    #[test]
    fn what_fits_is_kept_and_of_more_the_beginning() {
        assert_eq!(BoundedText::of(3, "abc"), "abc");
        assert_eq!(BoundedText::of(3, "abcd"), "abc…");
        assert_eq!(BoundedText::of(3, "abä"), "ab…");
        let mut text = BoundedText::new(3);
        let (first, second) = ("a", "bcd");
        assert!(write!(text, "{first}{second}").is_err());
        // Nothing may follow a gap.
        assert!(text.write_str("x").is_err());
        assert_eq!(text.finish(), "abc…");
    }

    #[test]
    fn whoever_writes_without_end_is_ended() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    formatter.write_str("x")?;
                }
            }
        }
        assert_eq!(BoundedText::of(2, Endless), "xx…");
    }
}
