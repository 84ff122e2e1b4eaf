//! Names of files that are no paths.

/// The longest name, in bytes.
const MAX_BYTES: usize = 128;

/// Tells whether `name` is the name of a file and leads to no other folder, so that an attachment may be called so.
pub fn is_file_name(name: &str) -> bool {
    let is_taken = [".", ".."].contains(&name);
    let is_plain = |character: char| !"/\\".contains(character) && !character.is_control();
    (1..=MAX_BYTES).contains(&name.len()) && !is_taken && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::is_file_name;

    #[test]
    fn a_name_leads_nowhere() {
        for good in ["a", "report.html", "..a", "ä b", &"x".repeat(128)] {
            assert!(is_file_name(good), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            "a\\b",
            "a\0",
            "a\n",
            &"x".repeat(129),
        ] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }
}
