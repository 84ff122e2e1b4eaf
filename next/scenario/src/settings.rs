//! [`RootSettings`]: `runner.toml` of a results root.

use std::time::Duration;

use crate::problem::Problems;
use crate::reading::{AGE, Document, Integer, SIZE, Table, TableForm};

/// The keys of `runner.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootSettings {
    pub retention: Retention,
}

/// `[retention]`: `prune` removes a run if one of these selects it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Selects runs that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// Selects all but this number of the newest runs.
    pub keep_last: Option<u64>,
    /// Selects the oldest runs until the others have at most this number of bytes.
    pub max_size: Option<u64>,
}

impl RootSettings {
    /// Parses a `runner.toml`. The path is for messages.
    ///
    /// # Errors
    ///
    /// All of its problems.
    pub fn parse(path: &str, text: &str) -> Result<Self, Problems> {
        Document::parse(path, text)
            .and_then(|document| document.read(&SETTINGS))
            .map_err(|problems| Problems::first(100, problems))
    }
}

pub(crate) const SETTINGS: TableForm<RootSettings> = TableForm("`runner.toml`", settings);
const RETENTION: TableForm<Retention> = TableForm("`[retention]`", retention);

fn settings(table: &mut Table<'_, '_>) -> Option<RootSettings> {
    let retention = table.optional("retention", &RETENTION);
    Some(RootSettings { retention: retention.unwrap_or_default() })
}

fn retention(table: &mut Table<'_, '_>) -> Option<Retention> {
    Some(Retention {
        older_than: table.optional("older_than", &AGE),
        keep_last: table.optional("keep_last", &Integer(0, u64::from(u32::MAX))),
        max_size: table.optional("max_size", &SIZE),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::RootSettings;

    #[test]
    fn invalid_settings_are_refused_with_places() {
        let text = "[retention]\nolder_than = \"30d\"\nkeep_last = 500\nmax_size = \"20GiB\"\n";
        let read = RootSettings::parse("runner.toml", text).unwrap().retention;
        assert_eq!(read.older_than, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!((read.keep_last, read.max_size), (Some(500), Some(20 << 30)));
        assert_eq!(RootSettings::parse("runner.toml", "").unwrap(), RootSettings::default());
        let text = "max_active_runs = 2\n[retention]\nolder_then = \"x\"\nkeep_last = -1\n";
        let problems = RootSettings::parse("runner.toml", text).unwrap_err();
        let shown = problems.render(false, 100);
        for part in [
            "runner.toml:3",
            "`older_then`",
            "did you mean",
            "`older_than`",
            "not supported yet",
            "keep_last",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
