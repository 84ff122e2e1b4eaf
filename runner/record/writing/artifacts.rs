//! The files of an attempt, and what of it does not fit into its row.

use std::{borrow::Cow, collections::BTreeSet, io, path::PathBuf};

use serde_json::Value;

use crate::{
    model::{Artifact, Attempt, Digest},
    record::{
        disk::{durable, layout::RunDir, modes},
        error::RecordError,
        failpoint,
        format::{
            entry::Entry,
            row::{self, Row, RowArtifact, RowOutput, StoredOutput},
        },
    },
};

/// The longest output that stands in its row, as JSON.
const MAX_INLINE_BYTES: usize = 64 * 1024;

/// Writes the files of a run's attempts, before the rows that speak of them.
pub(in crate::record) struct ArtifactFiles {
    dir: RunDir,
    /// Directories with new entries. Many attempts share their parents, so they wait for the commit.
    unsynced: BTreeSet<PathBuf>,
}

impl ArtifactFiles {
    pub(in crate::record) fn new(dir: RunDir) -> Self {
        Self {
            dir,
            unsynced: BTreeSet::new(),
        }
    }

    /// Writes the files that an attempt left, and names them in its row.
    pub(in crate::record) fn save<'a>(
        &mut self,
        entry: &'a Entry,
        row: &mut Row<'a>,
    ) -> Result<(), RecordError> {
        for artifact in &entry.attempt.artifacts {
            let content = &artifact.content;
            let written = self.write(&entry.attempt, &artifact.name, |out| content.write_to(out));
            written.map_err(RecordError::io("write an artifact"))?;
            row.artifacts.push(RowArtifact {
                name: artifact.name.as_str().into(),
                media_type: artifact.media_type.as_str().into(),
                bytes: content.size(),
            });
        }
        Ok(())
    }

    /// Moves an output that is too large for its row into a file.
    pub(in crate::record) fn save_output<'a>(
        &mut self,
        entry: &'a Entry,
        row: &mut Row<'a>,
    ) -> Result<(), RecordError> {
        let attempt = &entry.attempt;
        let Some(output) = &attempt.output else {
            return Ok(());
        };
        if is_short(output) && !is_unreadable(output) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(output).expect("a JSON value can be written as JSON");

        let name = free_name(&attempt.artifacts, "output.json");
        self.write(attempt, &name, |out| out.write_all(&bytes))
            .map_err(RecordError::io("write an output"))?;
        row.output = Some(RowOutput::Stored(StoredOutput {
            artifact: name,
            sha256: Digest::of(&bytes),
            bytes: bytes.len() as u64,
        }));
        Ok(())
    }

    /// Makes every name that was written durable.
    pub(in crate::record) fn sync(&mut self) -> Result<(), RecordError> {
        while let Some(directory) = self.unsynced.pop_last() {
            durable::sync_directory(&directory)
                .map_err(RecordError::io("sync a directory of artifacts"))?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        attempt: &Attempt,
        name: &str,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let directory = self.dir.artifacts(attempt.ordinal, attempt.number);
        modes::create_inside(&directory)?;
        failpoint::pass("artifact", "begin")?;
        durable::create_with(&directory.join(name), |file| write(file))?;
        failpoint::pass("artifact", "written")?;
        for ancestor in directory.ancestors() {
            if !self.unsynced.contains(ancestor) {
                self.unsynced.insert(ancestor.to_owned());
            }
            if ancestor == self.dir.path() {
                break;
            }
        }
        Ok(())
    }
}

/// Tells whether an output is short enough to stand in its row; of one that is not, no more is written than tells so.
fn is_short(output: &Value) -> bool {
    struct RoomLeft(usize);
    impl io::Write for RoomLeft {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let left = self.0.checked_sub(bytes.len());
            self.0 = left.ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(RoomLeft(MAX_INLINE_BYTES), output).is_ok()
}

/// Tells whether an output would not be read back from its row as what it is, however short.
fn is_unreadable(output: &Value) -> bool {
    looks_stored(output) || row::is_deep(output)
}

/// Tells whether a value could be taken for the place of an output.
fn looks_stored(output: &Value) -> bool {
    const KEYS: [&str; 3] = ["artifact", "sha256", "bytes"];
    output.as_object().is_some_and(|object| {
        object.len() == KEYS.len() && KEYS.iter().all(|key| object.contains_key(*key))
    })
}

/// A name that the provider gave to none of its files; some file systems do not tell case.
fn free_name(taken: &[Artifact], wanted: &'static str) -> Cow<'static, str> {
    let mut name = Cow::Borrowed(wanted);
    while taken
        .iter()
        .any(|artifact| artifact.name.eq_ignore_ascii_case(&name))
    {
        name = format!("runner-{name}").into();
    }
    name
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use serde_json::json;

    use crate::{
        model::{Artifact, Outcome, RunStatus},
        record::{
            Row, RowOutput, RunReader, Store,
            disk::layout::RunDir,
            testing::{end, entry, ignore, new_run},
        },
    };

    fn read_file(run_dir: &Path, row: &Row<'_>, name: &str) -> String {
        let files = RunDir::new(run_dir).artifacts(row.ordinal, row.attempt);
        fs_err::read_to_string(files.join(name)).unwrap()
    }

    #[test]
    fn files_are_on_disk_and_named_in_the_row() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(2000), ignore).unwrap();
        let mut entry = entry(1234, 2, Outcome::Failed);
        entry.attempt.artifacts = vec![Artifact {
            name: "OUTPUT.json".into(),
            media_type: "image/png".into(),
            content: Arc::new(b"png".to_vec()),
        }];
        entry.attempt.output = Some("x".repeat(64 * 1024).into());
        recorder.record(vec![entry]);
        let finished = recorder.finish(&end(RunStatus::Completed, 2000)).unwrap();

        let reader = RunReader::open(&finished.run_dir).unwrap();
        let row = reader.rows().next().unwrap().unwrap();
        let read = |name: &str| read_file(&finished.run_dir, &row, name);
        let names: Vec<_> = row
            .artifacts
            .iter()
            .map(|file| (&*file.name, file.bytes))
            .collect();
        assert_eq!(names, [("OUTPUT.json", 3)]);
        assert_eq!(read("OUTPUT.json"), "png");
        let Some(RowOutput::Stored(output)) = &row.output else {
            panic!("{:?}", row.output);
        };
        assert_eq!(output.artifact, "runner-output.json");
        assert_eq!(output.bytes, 64 * 1024 + 2);
        assert_eq!(read(&output.artifact).len(), 64 * 1024 + 2);
        assert!(
            finished
                .run_dir
                .join("artifacts/1/1234-2/OUTPUT.json")
                .exists()
        );
    }

    #[test]
    fn an_output_that_would_not_read_back_gets_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
        let reference = json!({ "artifact": "a", "sha256": "b", "bytes": 1 });
        let recorder = store.begin(new_run(2), ignore).unwrap();
        for (ordinal, output) in [&deep, &reference].into_iter().enumerate() {
            let mut entry = entry(ordinal as u64, 1, Outcome::Failed);
            entry.attempt.checks[0].actual = Some(output.clone());
            entry.attempt.output = Some(output.clone());
            recorder.record(vec![entry]);
        }
        let finished = recorder.finish(&end(RunStatus::Completed, 2)).unwrap();

        let reader = RunReader::open(&finished.run_dir).unwrap();
        let rows: Vec<_> = reader.rows().map(Result::unwrap).collect();
        assert_eq!(rows[0].checks[0].actual, None);
        assert_eq!(rows[1].checks[0].actual.as_deref(), Some(&reference));
        for (row, output) in rows.iter().zip([deep, reference]) {
            let Some(RowOutput::Stored(stored)) = &row.output else {
                panic!("{:?}", row.output);
            };
            let text = read_file(&finished.run_dir, row, &stored.artifact);
            assert_eq!(text, output.to_string());
        }
    }
}
