//! [`Verification`]: whether everything that a run has on disk is there and unchanged.

use std::{
    fmt, io,
    path::{Component, Path, PathBuf},
    sync::atomic::AtomicBool,
};

use super::order::{Order, TrialIds};
use crate::{
    model::{Counts, Digest, RunStatus, plural},
    record::{
        disk::{
            layout::{self, RunDir},
            lock, regular,
            stamp::Stamp,
        },
        error::{RecordError, is_missing},
        format::{
            manifest::Manifest,
            row::{Row, RowOutput},
            row_seal::RowSeal,
        },
        reading::{
            fold::Fold,
            history::NextSession,
            lines::{LineError, RowsLine},
            notified,
            reader::RunReader,
            said::LogReader,
            scenario_text,
            state::State,
        },
        writing::sealing,
    },
};

/// How much damage is told one by one; all of it is counted.
const MAX_DAMAGES: usize = 1000;

/// What was found in a run's directory and in the content store.
#[derive(Debug, Default)]
pub struct Verification {
    /// How many rows are good.
    pub rows: u64,
    /// How many files of rows were looked at.
    pub files: u64,
    /// How many entries of the content store were.
    pub entries: u64,
    /// The damage, at most the first thousand.
    pub damages: Vec<Damage>,
    /// How much damage there is.
    pub damage_count: u64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file that is damaged, or that something is missing from.
    pub path: PathBuf,
    /// Which line of it, from 1, where that can be told.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: String,
}

impl Verification {
    /// Checks everything that the run in `dir` has on disk; an `Err` means that it could not be looked at. `names` opens the
    /// plan that was stored with it, by which its rows have to be.
    pub fn of<N>(dir: &Path, names: impl Fn(&RunReader) -> N) -> Result<Self, RecordError>
    where
        N: FnMut(u64) -> Option<String>,
    {
        let run = RunDir::new(dir);
        let stamp = || Stamp::of(&run).map_err(RecordError::io("look at a manifest"));
        loop {
            let before = stamp()?;
            let verification = Self::once(dir, &run, &names)?;
            // To a manifest from before a session was opened or closed, its rows look like damage.
            if verification.is_intact() || stamp()? == before {
                return Ok(verification);
            }
        }
    }

    fn once<N>(
        dir: &Path,
        run: &RunDir,
        names: impl Fn(&RunReader) -> N,
    ) -> Result<Self, RecordError>
    where
        N: FnMut(u64) -> Option<String>,
    {
        let mut verification = Self::default();
        let reader = match RunReader::open(dir) {
            Ok(reader) => reader,
            Err(RecordError::Manifest { path, source }) => {
                verification.add(path, None, source.to_string());
                return Ok(verification);
            }
            Err(error) => return Err(error),
        };

        verification.check_manifest(run, reader.manifest());
        verification.check_lock(run);
        verification.check_scenario(run, reader.manifest())?;
        verification.check_content(run, reader.manifest())?;
        let damaged = notified::damaged_lines(run).map_err(RecordError::io("read a file"))?;
        for line in damaged {
            verification.add(run.notifications(), Some(line), "cannot be understood");
        }
        let state = verification.check_rows(run, &reader, &mut names(&reader))?;
        verification.check_seals(run)?;
        if let Some(state) = state.filter(|_| run.index().exists()) {
            verification.check_ends(run, reader.manifest(), &state);
        }
        Ok(verification)
    }

    /// Tells whether there is no damage.
    pub fn is_intact(&self) -> bool {
        self.damage_count == 0
    }

    fn add(&mut self, path: PathBuf, line: Option<u64>, problem: impl Into<String>) {
        self.damage_count += 1;
        if self.damages.len() < MAX_DAMAGES {
            self.damages.push(Damage {
                path,
                line,
                problem: problem.into(),
            });
        }
    }

    /// What the manifest says of itself must agree.
    fn check_manifest(&mut self, run: &RunDir, manifest: &Manifest) {
        let mut before = None;
        for (place, transition) in (1_u64..).zip(&manifest.transitions) {
            if transition.from != before {
                let problem =
                    format!("transition {place} does not begin where the one before ended");
                self.add(run.manifest(), None, problem);
            }
            before = Some(transition.to);
        }
        if before != Some(manifest.status) {
            let problem = format!(
                "its status `{}` is not its last transition's",
                manifest.status
            );
            self.add(run.manifest(), None, problem);
        }
        if manifest.completed_at.is_none() != (manifest.status == RunStatus::Running) {
            let problem = "`completed_at` must be there unless the status is `running`";
            self.add(run.manifest(), None, problem);
        }
    }

    /// What is no file keeps nobody out, and whoever goes on with the run cannot take it.
    fn check_lock(&mut self, run: &RunDir) {
        let found = fs_err::symlink_metadata(run.lock()).map(|found| found.file_type());
        if let Ok(kind) = found
            && !kind.is_file()
        {
            let kind = regular::name_of(kind);
            let problem = format!("it is {kind} and no lock: remove it, or move it away");
            self.add(run.lock(), None, problem);
        }
    }

    fn check_scenario(&mut self, run: &RunDir, manifest: &Manifest) -> Result<(), RecordError> {
        // Whoever claims the run next puts it back.
        if scenario_text::is_aside(&run.root(), run, manifest) {
            return Ok(());
        }
        self.check_digest(run.scenario(), manifest.scenario.sha256)
    }

    fn check_content(&mut self, run: &RunDir, manifest: &Manifest) -> Result<(), RecordError> {
        let store = run.root().content();
        for digest in manifest.needed() {
            self.entries += 1;
            self.check_digest(layout::content_entry(&store, digest), digest)?;
        }
        Ok(())
    }

    fn check_digest(&mut self, path: PathBuf, expected: Digest) -> Result<(), RecordError> {
        match digest_of(&path)? {
            Some(found) if found == expected => {}
            Some(found) => {
                let problem = format!("its digest is {found} and should be {expected}");
                self.add(path, None, problem);
            }
            None => self.add(path, None, "is missing"),
        }
        Ok(())
    }

    /// Checks rows, and gives what they come to if the run is at rest.
    fn check_rows(
        &mut self,
        run: &RunDir,
        reader: &RunReader,
        planned: TrialIds<'_>,
    ) -> Result<Option<State>, RecordError> {
        let manifest = reader.manifest();
        let is_at_rest = manifest.status != RunStatus::Running;
        let fold = is_at_rest.then(|| Fold::new(manifest, NextSession::default()));
        let mut fold = fold.transpose()?;
        let mut order = Order::new(manifest, planned);
        let mut logs = Logs::new(run);
        let mut rows = reader.rows();
        while let Some(row) = rows.next_line() {
            let (index, line) = (rows.path(), rows.line());
            match row {
                Ok(RowsLine::Judgement(brief)) => {
                    self.rows += 1;
                    if let Some(fold) = &mut fold {
                        fold.row(brief);
                    }
                    let judgement = rows.whole_judgement();
                    let problems = match judgement {
                        Ok(judgement) => order.check_judgement(&judgement),
                        Err(error) => vec![error.to_string()],
                    };
                    for problem in problems {
                        self.add(index.clone(), Some(line), problem);
                    }
                }
                Ok(RowsLine::Attempt(row)) => {
                    self.rows += 1;
                    if let Some(fold) = &mut fold {
                        fold.named_row((row.brief(), &row.trial));
                    }
                    for problem in order.check(&row) {
                        self.add(index.clone(), Some(line), problem);
                    }
                    self.check_files(run, &row, (&index, line))?;
                    self.files += u64::from(logs.is_another_file(&row));
                    if let Some(problem) = logs.check(&row) {
                        self.add(index.clone(), Some(line), problem);
                    }
                }
                Err(LineError::Damaged { problem, .. }) => {
                    order.damaged();
                    self.add(index.clone(), Some(line), problem);
                }
                Err(LineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    self.add(index.clone(), None, "is missing");
                }
                Err(LineError::Io(source)) => return Err(RecordError::io("read rows")(source)),
            }
        }
        // A run that is not at rest may be in the middle of a row, and the next owner of a dead one repairs that.
        if is_at_rest && let Some(problem) = rows.torn() {
            self.add(rows.path(), Some(rows.line()), problem);
        }
        Ok(fold.map(|fold| fold.finish().state))
    }

    /// Checks the files that a row names.
    fn check_files(
        &mut self,
        run: &RunDir,
        row: &Row<'_>,
        (index, line): (&Path, u64),
    ) -> Result<(), RecordError> {
        let directory = run.artifacts(row.ordinal, row.attempt);
        let stored = match &row.output {
            Some(RowOutput::Stored(stored)) => {
                Some((&stored.artifact, stored.bytes, Some(stored.sha256)))
            }
            Some(RowOutput::Inline(_)) | None => None,
        };
        let artifacts = row
            .artifacts
            .iter()
            .map(|artifact| (&artifact.name, artifact.bytes, None));
        for (name, bytes, sha256) in artifacts.chain(stored) {
            self.files += 1;
            if let Some(problem) = file_problem(&directory, name, bytes, sha256)? {
                let problem = format!("{} names the file `{name}`, which {problem}", row.trial);
                self.add(index.to_owned(), Some(line), problem);
            }
        }
        Ok(())
    }

    /// Checks that no file of rows is missing, and that those that are full are what they were by then.
    fn check_seals(&mut self, run: &RunDir) -> Result<(), RecordError> {
        let last = match run.last_row_file() {
            Ok(last) => last,
            Err(error) => {
                self.add(run.path().to_owned(), None, error.to_string());
                return Ok(());
            }
        };
        let failed = || RecordError::io("look at a file of rows");
        // A file is sealed once the next one is there.
        for number in 1..=last {
            let (path, seal) = (run.row_file(number), run.row_seal(number));
            let text = match regular::read(&seal) {
                Err(error) if is_missing(&error) => continue,
                text => text.map_err(failed())?,
            };
            if number == last {
                let problem = "is missing, though the file of rows before it is full";
                self.add(run.row_file(number + 1), None, problem);
            }
            match (RowSeal::decode(&text), seal_of(&path).map_err(failed())?) {
                (Err(error), _) => self.add(seal, None, error.to_string()),
                (Ok(sealed), found) if sealed != found => {
                    let (was, is) = (plural(sealed.lines, "line"), plural(found.lines, "line"));
                    let problem = format!(
                        "it had {was} and the digest {} when it was full, and has {is} and the digest {}",
                        sealed.sha256, found.sha256
                    );
                    self.add(path, None, problem);
                }
                (Ok(_), _) => {}
            }
        }
        Ok(())
    }

    /// Compares what the run came to with what its rows come to.
    fn check_ends(&mut self, run: &RunDir, manifest: &Manifest, state: &State) {
        if manifest.status == RunStatus::Completed && !state.is_complete() {
            self.add(run.index(), None, missing(state));
        }
        let counts = Counts::from(manifest.counts);
        // Whoever holds the lock is about to write the manifest.
        if counts != state.counts() && !lock::is_held(&run.lock()) {
            let problem = format!(
                "it counts {} final rows, {} of them bad, and there are {}, {} of them bad",
                counts.done(),
                counts.bad(),
                state.counts().done(),
                state.counts().bad()
            );
            self.add(run.manifest(), None, problem);
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

/// What rows name in the files of what was said.
struct Logs {
    reader: LogReader,
    /// The session and the number of the last one that was named.
    last: (u32, u32),
}

impl Logs {
    fn new(run: &RunDir) -> Self {
        Self {
            reader: LogReader::new(run.clone()),
            last: (0, 0),
        }
    }

    /// Tells whether a row names another file than those before it.
    fn is_another_file(&mut self, row: &Row<'_>) -> bool {
        let Some(place) = row.logs else {
            return false;
        };
        let file = (row.session, place.file);
        std::mem::replace(&mut self.last, file) != file
    }

    /// Says what is wrong with what a row names.
    fn check(&mut self, row: &Row<'_>) -> Option<String> {
        let place = row.logs?;
        let error = self.reader.read(row, place).err()?;
        Some(format!(
            "{} names {} bytes from byte {} of `logs-{}-{}.jsonl`, which cannot be read as what was said in it: {error}",
            row.trial, place.bytes, place.at, row.session, place.file
        ))
    }
}

/// Says which trials have no final row.
fn missing(state: &State) -> String {
    const SHOWN: usize = 5;
    let counts = state.counts();
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(ordinal) = state.next_pending(from)
        && places.len() < SHOWN
    {
        places.push(ordinal.to_string());
        from = ordinal + 1;
    }
    format!(
        "the run is completed, and {} of its {} trials have no final row: those with the ordinals {}{}",
        counts.planned - counts.done(),
        counts.planned,
        places.join(", "),
        if counts.planned - counts.done() > SHOWN as u64 {
            ", …"
        } else {
            ""
        }
    )
}

/// Says what is wrong with a file that a row names.
fn file_problem(
    directory: &Path,
    name: &str,
    bytes: u64,
    sha256: Option<Digest>,
) -> Result<Option<String>, RecordError> {
    let mut components = Path::new(name).components();
    if !components.all(|component| matches!(component, Component::Normal(_))) {
        return Ok(Some("lies outside of its directory".into()));
    }
    let path = directory.join(name);
    let length = match fs_err::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Ok(Some("is not a file".into())),
        Err(error) if is_missing(&error) => return Ok(Some("is missing".into())),
        Err(error) => return Err(RecordError::io("look at a file of a row")(error)),
    };
    if length != bytes {
        return Ok(Some(format!("has {length} bytes and should have {bytes}")));
    }
    match sha256 {
        Some(expected) if digest_of(&path)? != Some(expected) => {
            Ok(Some("has another content than it had".into()))
        }
        Some(_) | None => Ok(None),
    }
}

/// What a file of rows is now.
fn seal_of(path: &Path) -> io::Result<RowSeal> {
    let seal = sealing::look(path, &AtomicBool::new(false))?;
    Ok(seal.expect("nobody has said that it is enough"))
}

/// The digest of a file; `None` if there is none.
fn digest_of(path: &Path) -> Result<Option<Digest>, RecordError> {
    match regular::open(path).and_then(Digest::of_reader) {
        Ok(digest) => Ok(Some(digest)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(RecordError::io("read a file of a run")(error)),
    }
}
