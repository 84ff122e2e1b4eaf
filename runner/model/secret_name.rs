//! What secrets may be called.

/// Tells whether `text` can name a secret: letters, digits and `_`, as environment variables have them.
pub fn is_secret_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(is_letter)
        && text
            .bytes()
            .all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_secret_name;

    #[test]
    fn a_secret_is_named_like_a_variable_of_a_shell() {
        for good in ["API_KEY", "_", "a1"] {
            assert!(is_secret_name(good), "{good}");
        }
        for bad in ["", "1A", "A-B", "Ä", "A B", "A="] {
            assert!(!is_secret_name(bad), "{bad:?}");
        }
    }
}
