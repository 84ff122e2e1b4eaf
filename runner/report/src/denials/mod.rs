//! [`Denials`]: access that the providers and graders of a run tried and were not granted.

mod missing_grants;

use std::collections::{BTreeMap, HashSet};

use runner_model::{
    ErrorClass, Fingerprint, Grants, Outcome, RowRef, TrialId, row::Denied, visible::quoted,
};
use runner_scenario::{GrantsToml, key_and_value, toml_key};
use schemars::JsonSchema;
use serde::Serialize;

pub use missing_grants::MissingGrants;

/// Denied access by provider or grader, without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Denials {
    by_name: BTreeMap<String, Vec<Denial>>,
    /// The trial, and the grader's name, question and attempt, of each grade that was counted.
    #[serde(skip)]
    grades: HashSet<(TrialId, String, Option<Fingerprint>, u32)>,
}

/// A denied access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Denial {
    /// The access in words.
    pub what: String,
    /// The line of a scenario that would grant it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Number of attempts.
    pub count: u64,
}

impl Denials {
    /// Denials of one provider or grader that are shown. One more is kept, to show that there are more.
    pub const MAX_SHOWN: usize = 10;

    /// Counts the denials of an attempt and its graders, except those of a test that passed because it expects `denied`. Judged
    /// rows repeat those of their attempt and of earlier graders.
    pub fn add(&mut self, row: &RowRef<'_>) {
        let class = row.error.as_ref().and_then(|error| error.class);
        let is_expected = row.outcome == Outcome::Passed && class == Some(ErrorClass::Denied);
        if !is_expected && row.judged.is_none() {
            self.count(&row.provider, &row.denied);
        }
        for grade in row.grades.iter().filter(|grade| !grade.denied.is_empty()) {
            let name = grade.grader.to_string();
            if self.grades.insert((row.trial.clone(), name, grade.asked, grade.attempt)) {
                self.count(&grade.grader, &grade.denied);
            }
        }
    }

    /// Adds the denials of one call.
    fn count(&mut self, name: &str, denied: &[Denied<'_>]) {
        if denied.is_empty() {
            return;
        }
        let known = self.by_name.entry(name.to_owned()).or_default();
        for denied in denied {
            let what = denied.what.to_string();
            let grant = denied.grant.as_ref().map(ToString::to_string);
            let same = known.iter_mut().find(|known| known.what == what && known.grant == grant);
            if let Some(known) = same {
                known.count += 1;
            } else if known.len() <= Self::MAX_SHOWN {
                known.push(Denial { what, grant, count: 1 });
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns the denials of each provider and grader.
    pub fn by_name(&self) -> impl Iterator<Item = (&str, &[Denial])> {
        self.by_name.iter().map(|(name, denials)| (name.as_str(), denials.as_slice()))
    }
}

/// Formats the grants of a provider or grader, which is in `table` of the scenario, with all of `denied` added. Empty if that
/// adds nothing.
pub fn table_with(table: &str, name: &str, granted: &Grants, denied: &[Denial]) -> Vec<String> {
    let mut grants = GrantsToml::from(granted);
    let lines = denied.iter().filter_map(|denial| denial.grant.as_deref());
    let added = lines.filter(|line| grants.add(line)).count();
    match added {
        0 => Vec::new(),
        _ => grants.proposal(table, name),
    }
}

/// Formats a denial of the provider of a row, or of a grader, with the grant that would allow it. A row without a number is of
/// `plugin run`, which has no scenario.
pub(crate) fn line(row: &RowRef<'_>, grader: Option<&str>, denied: &Denied<'_>) -> String {
    let what = &*denied.what;
    let Some((key, value)) = denied.grant.as_deref().and_then(key_and_value) else {
        return format!("denied: {what}");
    };
    let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    if let (None, Some(text)) = (row.seq, text) {
        let grant = quoted(&format!("{}={text}", key.trim_end_matches('s')));
        return format!("denied: {what} – to allow it: --grant {grant}");
    }
    let table = if grader.is_some() { "graders" } else { "providers" };
    let name = toml_key(grader.unwrap_or(&row.provider));
    format!("denied: {what} – to allow it, add {value} to `{key}` of [{table}.{name}.grants]")
}

#[cfg(test)]
mod tests {
    use runner_model::{Grants, NetGrant};

    use super::{Denial, table_with};

    #[test]
    fn a_table_has_what_was_granted_and_denied() {
        let granted = Grants {
            net: vec![NetGrant::parse("https://a.example").unwrap()],
            ..Grants::default()
        };
        let denial = |grant: Option<&str>| Denial {
            what: "something".to_owned(),
            grant: grant.map(str::to_owned),
            count: 1,
        };
        let denied = [
            denial(Some(r#"net = ["https://b.example"]"#)),
            denial(Some(r#"secrets = ["KEY"]"#)),
            denial(None),
        ];
        assert_eq!(
            table_with("providers", "a b", &granted, &denied),
            [
                "[providers.\"a b\".grants]",
                r#"net = ["https://a.example", "https://b.example"]"#,
                r#"secrets = ["KEY"]"#,
            ]
        );
        // Access that is granted already, or cannot be, needs no table.
        let denied = [denial(Some(r#"net = ["https://a.example"]"#)), denial(None)];
        assert!(table_with("providers", "p", &granted, &denied).is_empty());
    }
}
