//! The keys of `[known]`, and of lists of known failures.

use std::collections::{BTreeSet, HashSet};

use runner_model::known::{Judged, KnownEntry, KnownMember, MAX_MEMBERS};
use runner_model::{Fingerprint, Outcome, Time};
use serde_json::{Value, json};

use super::files::find_matches;
use crate::reading::{
    At, Boolean, FILE_GLOB, Form, GLOB, Globs, List, Reader, Table, TableForm, Text, WholeText,
    Word,
};

/// `[known]` of a scenario.
#[derive(Debug)]
pub(crate) struct WrittenKnown {
    pub(crate) strict: bool,
    /// `strict = "all"`.
    pub(crate) strict_entries: bool,
    /// The lists that its globs match, relative to the scenario. Empty in a stored scenario.
    pub(crate) files: Vec<String>,
    /// Entries without the file and line. A reason may be empty.
    pub(crate) entries: Vec<KnownEntry>,
}

pub(crate) const KNOWN: TableForm<WrittenKnown> = TableForm("`[known]`", |table| {
    let files = table.optional("files", &Globs(List(1, KnownFiles)));
    let [strict, strict_entries] = table.or("strict", &StrictForm, "true");
    let mut seen = HashSet::new();
    let files = files.into_iter().flatten().flatten();
    Some(WrittenKnown {
        files: files.filter(|name| seen.insert(name.clone())).collect(),
        entries: table.optional("failures", &FAILURES).unwrap_or_default(),
        strict,
        strict_entries,
    })
});
/// A file that `[known]` names.
pub(crate) const KNOWN_LIST: TableForm<Vec<KnownEntry>> =
    TableForm("a list of known failures", |table| table.with_default("failures", &FAILURES, "[]"));
const FAILURES: List<TableForm<KnownEntry>> = List(0, TableForm("`[[known.failures]]`", failure));
const OUTCOMES: [Outcome; 3] = [Outcome::Failed, Outcome::Error, Outcome::Timeout];
const OUTCOME: Word<Outcome> = Word(
    || OUTCOMES.map(Outcome::as_str).to_vec(),
    |word| OUTCOMES.into_iter().find(|outcome| outcome.as_str() == word),
);
const DATE: Text<String> = Text {
    words: "a date",
    example: " such as 2027-03-01",
    schema: r#"{"title": "date", "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "examples": ["2027-03-01"]}"#,
    parse: |text| {
        let is_date = Time::parse(&format!("{text}T00:00:00Z")).is_some();
        let is_date = is_date && text.len() == "2027-03-01".len();
        is_date.then(|| text.to_owned()).ok_or_else(|| format!("this is `{text}`"))
    },
};
const JUDGED_TEST: Text<Fingerprint> = Text {
    words: "32 hexadecimal digits, or a list, as `runner known --update` writes it",
    example: "",
    schema: r#"{"type": "string", "pattern": "^[0-9a-f]{32}$"}"#,
    parse: |text| Fingerprint::parse(text).ok_or_else(|| format!("this is `{text}`")),
};
const MEMBER: Text<KnownMember> = Text {
    words: "8 hexadecimal digits, as `runner known --update` writes them",
    example: "",
    schema: r#"{"type": "string", "pattern": "^[0-9a-f]{8}$"}"#,
    parse: |text| KnownMember::parse(text).ok_or_else(|| format!("this is `{text}`")),
};

fn failure(table: &mut Table<'_, '_>) -> Option<KnownEntry> {
    let tests = table.required("tests", &Globs(List(1, GLOB)));
    let providers = table.with_default("providers", &Globs(List(1, GLOB)), r#"["*"]"#);
    let reason = table.required("reason", &WholeText);
    Some(KnownEntry {
        providers: providers.unwrap_or_default(),
        until: table.optional("until", &DATE),
        outcomes: table.or("outcomes", &List(1, OUTCOME), r#"["failed"]"#),
        kinds: table.optional("kinds", &Globs(List(1, GLOB))).unwrap_or_default(),
        flaky: table.or("flaky", &Boolean, "false"),
        judged: table.optional("judged", &JudgedForm),
        tests: tests?,
        reason: reason?,
        ..KnownEntry::default()
    })
}

/// Whether passes fail a run, and whether entries that do not apply do.
struct StrictForm;

impl Form for StrictForm {
    type Out = [bool; 2];

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<[bool; 2]> {
        match value {
            Value::Bool(strict) => Some([*strict, false]),
            Value::String(word) if word == "all" => Some([true; 2]),
            _ => reader.refuse_kind(at, value, "`true`, `false` or `\"all\"`"),
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [Boolean.schema(), {"enum": ["all"]}]})
    }
}

/// The tests that an entry was written for.
struct JudgedForm;

impl Form for JudgedForm {
    type Out = Judged;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Judged> {
        let Some(count) = value.as_array().map(Vec::len) else {
            return JUDGED_TEST.read(at, value, reader).map(Judged::Test);
        };
        if count > MAX_MEMBERS {
            let message =
                format!("{} has {count} tests; at most {MAX_MEMBERS} are allowed", at.subject());
            reader.refuse(at, message, "too many");
            return None;
        }
        let mut members = List(0, MEMBER).read(at, value, reader)?;
        members.sort_unstable();
        members.dedup();
        Some(Judged::Tests(members))
    }

    fn schema(&self) -> Value {
        let mut list = List(0, MEMBER).schema();
        list["maxItems"] = json!(MAX_MEMBERS);
        json!({"anyOf": [JUDGED_TEST.schema(), list]})
    }
}

/// A glob over lists of known failures. The output is the names it matches, or `None` if the reader has no folder.
struct KnownFiles;

impl Form for KnownFiles {
    type Out = BTreeSet<String>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let glob = FILE_GLOB.read(at, value, reader)?;
        let names = find_matches(&glob, "list of known failures", at, reader)?;
        // Lists start empty. The other files with this extension are scenarios.
        if let Some(problem) = reader.problems.last_mut()
            && names.is_empty()
            && problem.help.as_ref().is_some_and(|help| help.starts_with("choose from"))
        {
            let help =
                "create an empty file, then `runner known --update` adds the failures of a run";
            problem.help = Some(help.to_owned());
        }
        for name in names.iter().filter(|name| !name.ends_with(".toml")) {
            let message = format!("`{name}` is not a list of known failures");
            let help = "its name must end in `.toml`".to_owned();
            reader.refuse(at, message, "matched").help = Some(help);
        }
        Some(names)
    }

    fn schema(&self) -> Value {
        FILE_GLOB.schema()
    }
}
