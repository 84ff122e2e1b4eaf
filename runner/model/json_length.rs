//! Where a JSON value ends, found without a look into it.

use memchr::memchr2;

/// How many bytes the JSON value has at the beginning of a text that is JSON, or of a part of one; `None` if its end is not
/// there.
pub fn json_length(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => at = end_of_text(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' if depth > 0 => {
                at += 1;
                continue;
            }
            b',' | b':' => return None,
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']');
                at += text[at..].iter().position(is_end)?;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where the text ends whose first quote is at `begin`.
fn end_of_text(text: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::json_length;

    #[test]
    fn a_value_ends_where_json_says() {
        let values = [
            r#""""#,
            r#""a\"b\\""#,
            r#"{"a":{"]":[1,"}"]},"b":null}"#,
            r#"[[],{},"\"\\"]"#,
            "-1.5e7",
            "null",
        ];
        for value in values {
            for rest in [",1", "}", "]\n"] {
                let text = format!("{value}{rest}");
                assert_eq!(json_length(text.as_bytes()), Some(value.len()), "{text}");
            }
        }
        for text in [
            "", ",", ":1", "}", "]1", "\"", "\"\\", "\"\\\"", "[", "{\"a\":", "12",
        ] {
            assert_eq!(json_length(text.as_bytes()), None, "{text}");
        }
    }
}
