//! [`readable`]: a function's name as its author wrote it.

use crate::model::BoundedText;

/// A longer name is shown as it is. Mangled names refer back to parts of themselves, so that a few hundred bytes can stand
/// for gigabytes.
const MAX_MANGLED_BYTES: usize = 1024;
/// What is shown of a name: the demangler is ended where that is full.
const MAX_SHOWN_BYTES: usize = 256;

/// The name of a function, at most [`MAX_SHOWN_BYTES`] of it; Rust's are demangled.
pub(in crate::plugin) fn readable(name: &str) -> String {
    let mangled = (name.len() <= MAX_MANGLED_BYTES).then_some(name);
    match mangled.and_then(|name| rustc_demangle::try_demangle(name).ok()) {
        // Without the hash that the compiler adds.
        Some(demangled) => BoundedText::of(MAX_SHOWN_BYTES, format_args!("{demangled:#}")),
        None => BoundedText::of(MAX_SHOWN_BYTES, name),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    /// A name of Rust's that stands for a text of 2^`doublings` parts.
    pub(crate) fn bomb(doublings: usize) -> String {
        // A function in a crate, with a list of types, each of which is a pair of the one before.
        let mut name = "_RINvCs1_4bomb1f".to_owned();
        let mut last = "l".to_owned();
        for _ in 0..doublings {
            let place = name.len() - "_R".len();
            name += &format!("T{last}{last}E");
            last = format!("B{}", base_62(place));
        }
        name + "E"
    }

    fn base_62(number: usize) -> String {
        let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let Some(mut rest) = number.checked_sub(1) else {
            return "_".to_owned();
        };
        let mut text = Vec::new();
        loop {
            text.insert(0, digits[rest % 62]);
            rest /= 62;
            if rest == 0 {
                break;
            }
        }
        format!("{}_", String::from_utf8(text).unwrap())
    }

    #[test]
    fn names_are_as_their_authors_wrote_them() {
        for (name, shown) in [
            ("_RNvNtCs1_6answer5inner4fail", "answer::inner::fail"),
            ("_ZN6answer4fail17h0123456789abcdefE", "answer::fail"),
            ("_ZN3foo3barEv", "_ZN3foo3barEv"),
            ("main", "main"),
            ("", ""),
        ] {
            assert_eq!(readable(name), shown);
        }
        assert!(readable(&bomb(2)).contains("((i32, i32), (i32, i32))"));
    }

    #[test]
    fn a_name_that_stands_for_gigabytes_is_ended() {
        for doublings in [20, 60, 80] {
            let name = bomb(doublings);
            let shown = readable(&name);
            assert!(
                shown.starts_with("bomb::f::<i32") || shown.starts_with("bomb::f::<("),
                "{shown}"
            );
            assert!(shown.len() < 300, "{shown}");
        }
        assert!(readable(&bomb(500)).starts_with("_RINv"));
        assert!(readable(&"x".repeat(10 << 20)).len() < 300);
    }
}
