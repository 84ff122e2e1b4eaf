//! What to type instead of a subcommand that does not exist.

use std::ffi::OsString;

use clap::{
    Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// Words that other programs have for something, and what has it here. Nothing of this runs by itself.
const SUGGESTIONS: [(&[&str], &str); 10] = [
    (
        &["run", "test", "start", "bench"],
        "`runner exec SCENARIO` runs a scenario",
    ),
    (
        &["new", "create"],
        "`runner init` writes a first scenario, and `runner plugin new DIR` a new plugin",
    ),
    (&["ls", "ps", "runs"], "`runner list` lists runs"),
    (
        &["status"],
        "`runner list` lists runs, and `runner show` shows one",
    ),
    (
        &["results", "summary", "inspect"],
        "`runner show` shows what a run came to",
    ),
    (
        &["rm", "remove", "delete", "clean", "gc"],
        "`runner prune` shows what could go, and deletes nothing without `--no-dry-run`",
    ),
    (
        &["continue", "restart", "rerun", "retry"],
        "`runner resume` goes on with a run",
    ),
    (&["kill", "abort"], "`runner stop` stops a run"),
    (
        &["log", "tail", "follow"],
        "`runner logs -f` prints rows as they come",
    ),
    (
        &["check", "lint"],
        "`runner validate SCENARIO` checks a scenario",
    ),
];

impl Cli {
    /// Reads a command line.
    ///
    /// Fails, as clap has it, if it is none, or asks for help.
    pub fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let program = OsString::from("runner");
        Self::try_parse_from([&program].into_iter().chain(arguments))
            .map_err(|error| with_suggestion(error, arguments))
    }
}

/// Suggests a subcommand for a word that is not one; never one that deletes, only because it sounds alike.
fn with_suggestion(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let mut words = arguments.iter().filter_map(|argument| argument.to_str());
    let first = words.next().unwrap_or_default();
    let suggestion = SUGGESTIONS.iter().find(|(words, _)| words.contains(&first));
    if let Some((_, suggestion)) = suggestion {
        error.remove(ContextKind::SuggestedSubcommand);
        let tip = ContextValue::StyledStrs(vec![(*suggestion).into()]);
        error.insert(ContextKind::Suggested, tip);
        return error;
    }
    let alike = error.remove(ContextKind::SuggestedSubcommand);
    let harmless = match alike {
        Some(ContextValue::Strings(mut names)) => {
            names.retain(|name| name != "prune");
            (!names.is_empty()).then_some(ContextValue::Strings(names))
        }
        Some(ContextValue::String(name)) if name == "prune" => None,
        other => other,
    };
    if let Some(names) = harmless {
        error.insert(ContextKind::SuggestedSubcommand, names);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::Cli;

    fn told(arguments: &[&str]) -> String {
        let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
        Cli::read(&arguments).unwrap_err().to_string()
    }

    #[test]
    fn words_of_other_programs_lead_where_people_meant_to_go_and_never_to_deleting() {
        for (word, way) in [
            ("run", "`runner exec SCENARIO`"),
            ("test", "`runner exec SCENARIO`"),
            ("create", "`runner init`"),
            ("new", "`runner plugin new DIR`"),
            ("ls", "`runner list`"),
            ("status", "`runner show`"),
            ("results", "`runner show`"),
            ("rm", "deletes nothing without `--no-dry-run`"),
        ] {
            let told = told(&[word, "x.toml"]);
            assert!(told.contains(way), "{word}: {told}");
            assert!(!told.contains("similar"), "{word}: {told}");
        }
        let similar = told(&["exce"]);
        assert!(similar.contains("'exec'"), "{similar}");
        for word in ["prun", "prunes", "rune"] {
            let told = told(&[word]);
            assert!(!told.contains("prune'"), "{told}");
        }
        // A subcommand of another one is none of these words.
        let nested = told(&["plugin", "ls"]);
        assert!(!nested.contains("runner list"), "{nested}");
    }
}
