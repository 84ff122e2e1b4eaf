//! Advice about removed keys, flags and commands.

/// Returns the advice about `name`, which an earlier version had. `owner` is the title of a table of keys, a file, or a command
/// such as `runner exec`.
pub fn gone(owner: &str, name: &str) -> Option<&'static str> {
    let has = |cell: &str, word: &str| {
        cell.split(", ").any(|one| one.trim_matches('`') == word.trim_matches('`'))
    };
    include_str!("gone.md").lines().find_map(|line| {
        let (owners, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        let (names, advice) = rest.strip_suffix(" |")?.split_once(" | ")?;
        (has(owners, owner) && has(names, name)).then_some(advice)
    })
}
