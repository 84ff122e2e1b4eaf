//! The files of an attempt, and what of it does not fit into its row.

use std::{borrow::Cow, collections::BTreeSet, io, path::PathBuf};

use serde_json::{Map, Value, json};

use crate::{
    model::{Artifact, Attempt, Content, Digest, LogRecord, escape_json},
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
        for file in files(&entry.attempt) {
            let written = self.write(&entry.attempt, &file.name, |out| file.body.write_to(out));
            written.map_err(RecordError::io("write an artifact"))?;
            row.artifacts.push(RowArtifact {
                name: file.name,
                media_type: file.media_type.into(),
                bytes: file.body.size(),
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

struct AttemptFile<'a> {
    name: Cow<'a, str>,
    media_type: &'a str,
    body: Body<'a>,
}

enum Body<'a> {
    /// An artifact's, which may be larger than memory has room for.
    Content(&'a dyn Content),
    Bytes(Cow<'a, [u8]>),
}

/// The provider's own files, then what it wrote to standard error, then its log.
fn files(attempt: &Attempt) -> Vec<AttemptFile<'_>> {
    let mut files: Vec<AttemptFile<'_>> = attempt.artifacts.iter().map(AttemptFile::of).collect();
    for (name, text) in [
        ("stdout.txt", &attempt.stdout),
        ("stderr.txt", &attempt.stderr),
    ] {
        if !text.is_empty() {
            files.push(AttemptFile {
                name: free_name(&attempt.artifacts, name),
                media_type: "text/plain",
                body: Body::Bytes(text.as_bytes().into()),
            });
        }
    }
    if !attempt.log.is_empty() {
        files.push(AttemptFile {
            name: free_name(&attempt.artifacts, "log.jsonl"),
            media_type: "application/jsonl",
            body: Body::Bytes(log_lines(&attempt.log).into()),
        });
    }
    files
}

impl<'a> AttemptFile<'a> {
    fn of(artifact: &'a Artifact) -> Self {
        Self {
            name: artifact.name.as_str().into(),
            media_type: &artifact.media_type,
            body: Body::Content(&*artifact.content),
        }
    }
}

impl Body<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Content(content) => content.size(),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Self::Content(content) => content.write_to(out),
            Self::Bytes(bytes) => out.write_all(bytes),
        }
    }
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

fn log_lines(log: &[LogRecord]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in log {
        let mut line = json!({ "level": record.level, "message": record.message });
        if !record.fields.is_empty() {
            let fields: Map<String, Value> = record
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            line["fields"] = fields.into();
        }
        let start = lines.len();
        lines.extend_from_slice(line.to_string().as_bytes());
        escape_json(&mut lines, start);
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use serde_json::json;

    use crate::{
        model::{Artifact, LogRecord, Outcome, RunStatus},
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
            name: "STDERR.txt".into(),
            media_type: "image/png".into(),
            content: Arc::new(b"png".to_vec()),
        }];
        entry.attempt.stderr = "oh no".into();
        entry.attempt.log = vec![LogRecord {
            level: "warn",
            message: "careful\n".into(),
            fields: vec![("a".into(), "b".into())],
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
        assert_eq!(
            names,
            [
                ("STDERR.txt", 3),
                ("runner-stderr.txt", 5),
                ("log.jsonl", 58)
            ]
        );
        assert_eq!(read("runner-stderr.txt"), "oh no");
        assert_eq!(
            read("log.jsonl"),
            "{\"fields\":{\"a\":\"b\"},\"level\":\"warn\",\"message\":\"careful\\n\"}\n"
        );
        let Some(RowOutput::Stored(output)) = &row.output else {
            panic!("{:?}", row.output);
        };
        assert_eq!(output.bytes, 64 * 1024 + 2);
        assert_eq!(read(&output.artifact).len(), 64 * 1024 + 2);
        assert!(
            finished
                .run_dir
                .join("artifacts/1/1234-2/log.jsonl")
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
