//! The writer thread: makes rows of entries, commits them in groups and acknowledges them.

use std::{
    io, mem,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{artifacts::ArtifactFiles, log_files::LogFiles, row_appender::RowAppender};
use crate::record::{
    disk::lock::FilePlace,
    error::RecordError,
    format::{
        cut,
        entry::Entry,
        judgement::{JudgedMark, JudgementEntry},
        line::MAX_LINE_BYTES,
        row::{Row, RowPlace},
    },
    store::{database::Database, live::Progress},
};

/// How long the first row of a commit waits for others.
const GROUP_COMMIT_WINDOW: Duration = Duration::from_millis(20);
/// A commit of this many rows, judgements or bytes waits for nobody. Judgements are short, and nobody waits for one.
const LARGE_ROWS: usize = 1024;
const LARGE_JUDGEMENTS: usize = 4096;
const LARGE_BYTES: usize = 1024 * 1024;

/// The writer thread's handle; dropping it waits until everything that was handed over is committed.
pub(in crate::record) struct Writer {
    sender: Option<Sender<WriterMessage>>,
    thread: Option<JoinHandle<Option<Database>>>,
}

/// What a writer works on.
pub(in crate::record) struct Job {
    pub(in crate::record) artifacts: ArtifactFiles,
    pub(in crate::record) logs: LogFiles,
    /// Where rows go; the session ends when it is not there any more.
    pub(in crate::record) rows: RowAppender,
    /// Where the run's lock is; the same holds of it.
    pub(in crate::record) lock: FilePlace,
    pub(in crate::record) session: u32,
    /// The number of the next row.
    pub(in crate::record) seq: u64,
    /// The counters in SQLite.
    pub(in crate::record) progress: Progress,
}

/// The acknowledgement of some entries, in the order in which they were handed over.
#[derive(Debug)]
pub struct Written {
    /// The entries, given back.
    pub entries: Vec<Entry>,
    /// What the judgements change that stand apart.
    pub judgements: Vec<JudgedMark>,
    /// Their lines in `index.jsonl` in the order of writing, each with its newline; empty if there is an error.
    pub lines: Vec<u8>,
    /// Set if the entries are not known to be on disk; then no later ones will be, and the session is over.
    pub error: Option<RecordError>,
}

enum WriterMessage {
    Entries(Vec<Entry>),
    Judgements(Vec<JudgementEntry>),
    Flush,
}

impl Writer {
    /// Starts the thread; `acks` is called on it.
    pub(in crate::record) fn start(
        job: Job,
        acks: impl Fn(Written) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                let mut commits = Commits::new(job, acks);
                let run = panic::catch_unwind(AssertUnwindSafe(|| {
                    commits.job.progress.begin();
                    commits.run(&receiver);
                }));
                if run.is_ok() {
                    commits.job.rows.end();
                    return commits.job.progress.end();
                }
                (commits.acks)(Written {
                    entries: Vec::new(),
                    judgements: Vec::new(),
                    lines: Vec::new(),
                    error: Some(RecordError::io("write rows")(io::Error::other(
                        "the thread that writes has panicked",
                    ))),
                });
                None
            })?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    pub(in crate::record) fn record(&self, entries: Vec<Entry>) {
        self.send(WriterMessage::Entries(entries));
    }

    pub(in crate::record) fn judge(&self, judgements: Vec<JudgementEntry>) {
        self.send(WriterMessage::Judgements(judgements));
    }

    pub(in crate::record) fn flush(&self) {
        self.send(WriterMessage::Flush);
    }

    /// Waits until everything that was handed over is committed, and gives the database in which the run was counted.
    pub(in crate::record) fn close(mut self) -> Option<Database> {
        self.join()
    }

    fn join(&mut self) -> Option<Database> {
        drop(self.sender.take());
        let ended = self.thread.take()?.join();
        ended.unwrap_or_else(|_| {
            tracing::error!("the recorder's thread panicked");
            None
        })
    }

    fn send(&self, message: WriterMessage) {
        // The thread ends early only by a panic; then nothing is acknowledged, which is what the caller waits for.
        if let Some(sender) = &self.sender
            && sender.send(message).is_err()
        {
            tracing::error!("the recorder's thread is gone; rows are lost");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.join());
    }
}

/// The thread's own state.
struct Commits<A> {
    job: Job,
    acks: A,
    /// Entries whose lines are in `lines`.
    entries: Vec<Entry>,
    judgements: Vec<JudgedMark>,
    lines: Vec<u8>,
    failure: Option<Arc<RecordError>>,
    /// Whether the files may be somebody else's.
    is_lost: bool,
}

impl<A: Fn(Written)> Commits<A> {
    fn new(job: Job, acks: A) -> Self {
        Self {
            job,
            acks,
            entries: Vec::new(),
            judgements: Vec::new(),
            lines: Vec::new(),
            failure: None,
            is_lost: false,
        }
    }

    fn run(&mut self, receiver: &Receiver<WriterMessage>) {
        while let Ok(message) = receiver.recv() {
            let is_waiting = self.take(message);
            if is_waiting {
                self.gather(receiver);
            }
            self.commit();
        }
    }

    /// Takes what else arrives, until nobody is expected or waiting any more would be rude.
    fn gather(&mut self, receiver: &Receiver<WriterMessage>) {
        let deadline = Instant::now() + GROUP_COMMIT_WINDOW;
        while self.entries.len() < LARGE_ROWS
            && self.judgements.len() < LARGE_JUDGEMENTS
            && self.lines.len() < LARGE_BYTES
        {
            let message = match receiver.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                    {
                        Ok(message) => message,
                        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
                    }
                }
            };
            if !self.take(message) || Instant::now() >= deadline {
                return;
            }
        }
    }

    /// Makes rows of a message's entries; tells whether the commit may wait for more.
    fn take(&mut self, message: WriterMessage) -> bool {
        if let WriterMessage::Flush = message {
            return false;
        }
        // Also before files of attempts are written.
        if self.failure.is_none()
            && let Err(error) = self.check_ground()
        {
            self.fail(error);
        }
        match message {
            WriterMessage::Entries(mut entries) => {
                for entry in &entries {
                    if self.failure.is_none()
                        && let Err(error) = self.encode(entry)
                    {
                        self.fail(error);
                    }
                }
                self.entries.append(&mut entries);
            }
            WriterMessage::Judgements(judgements) => {
                for judgement in judgements {
                    if self.failure.is_none() {
                        self.judge(&judgement);
                    }
                    self.judgements.push(judgement.judged());
                }
            }
            WriterMessage::Flush => {}
        }
        self.failure.is_none()
    }

    fn judge(&mut self, judgement: &JudgementEntry) {
        judgement.encode(self.place(), &mut self.lines);
        self.job.seq += 1;
    }

    fn place(&self) -> RowPlace {
        RowPlace {
            seq: self.job.seq,
            session: self.job.session,
        }
    }

    fn encode(&mut self, entry: &Entry) -> Result<(), RecordError> {
        let place = self.place();
        let Job {
            artifacts, logs, ..
        } = &mut self.job;
        encode(artifacts, logs, entry, place, &mut self.lines)?;
        self.job.seq += 1;
        Ok(())
    }

    fn commit(&mut self) {
        if self.entries.is_empty() && self.judgements.is_empty() {
            return;
        }
        if self.failure.is_none()
            && let Err(error) = self.write()
        {
            self.fail(error);
        }

        let entries = take_whole(&mut self.entries);
        let judgements = mem::take(&mut self.judgements);
        let lines = take_whole(&mut self.lines);
        let error = self
            .failure
            .as_ref()
            .map(|failure| RecordError::Stopped(Arc::clone(failure)));
        if error.is_none() {
            self.job.progress.add(&entries, &judgements);
        }
        (self.acks)(Written {
            entries,
            judgements,
            lines,
            error,
        });
    }

    fn check_ground(&mut self) -> Result<(), RecordError> {
        let lock = self.job.lock.check();
        let checked = lock
            .and_then(|()| self.job.rows.check())
            .and_then(|()| self.job.logs.check());
        self.is_lost = checked.is_err();
        checked
    }

    fn write(&mut self) -> Result<(), RecordError> {
        self.check_ground()?;
        self.job.artifacts.sync()?;
        self.job.logs.sync()?;
        self.job.rows.append(&self.lines)?;
        self.job.logs.committed();
        Ok(())
    }

    /// After a failed write or sync nobody knows what is on disk: nothing more is written, and nothing tried again.
    fn fail(&mut self, error: RecordError) {
        self.failure = Some(Arc::new(error));
        self.lines.clear();
        if self.is_lost {
            return;
        }
        // What was not acknowledged does not count. On a full disk it is also in the way of the manifest.
        let cut = self.job.rows.cut_back();
        if let Err(error) = cut.and_then(|()| self.job.logs.cut_back()) {
            tracing::warn!("cannot cut off rows that are not acknowledged: {error}");
        }
    }
}

/// Takes a list, and makes room for as many again: entries are large, and a list that grows copies them.
fn take_whole<T>(list: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(list.len());
    mem::replace(list, next)
}

/// Appends an entry's line, after its files are written and its logs are taken.
fn encode(
    artifacts: &mut ArtifactFiles,
    logs: &mut LogFiles,
    entry: &Entry,
    place: RowPlace,
    lines: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let start = lines.len();
    let mut row = Row::new(entry, place);
    artifacts.save(entry, &mut row)?;
    row.logs = logs.add(&entry.attempt)?;
    // Before the row is encoded: an output may have many MiB, of which its line would be another copy.
    artifacts.save_output(entry, &mut row)?;
    row.encode(lines);
    if lines.len() - start > MAX_LINE_BYTES {
        cut::cut(&mut row, lines, start);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{ArtifactFiles, FilePlace, Job, LogFiles, Progress, RowAppender, Writer};
    use crate::{
        model::Outcome,
        record::{RecordError, disk::layout::RunDir, testing::entry},
    };

    #[test]
    fn after_a_failed_write_everything_is_given_back_with_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let full = fs_err::OpenOptions::new().append(true).open("/dev/full");
        let job = Job {
            artifacts: ArtifactFiles::new(RunDir::new(directory.path())),
            logs: LogFiles::new(RunDir::new(directory.path()), 1),
            rows: RowAppender::new(&RunDir::new(directory.path()), 1, full.unwrap()).unwrap(),
            lock: FilePlace::at(directory.path()).unwrap(),
            session: 1,
            seq: 1,
            progress: Progress::nowhere(),
        };
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::start(job, move |written| sender.send(written).unwrap()).unwrap();

        for ordinal in 0..2 {
            writer.record(vec![entry(ordinal, 1, Outcome::Passed)]);
            writer.flush();
            let written = receiver.recv().unwrap();
            assert_eq!(written.entries[0].attempt.ordinal, ordinal);
            assert!(written.lines.is_empty());
            let error = written.error.unwrap();
            let causes: Vec<String> = causes(&error);
            assert!(
                causes.iter().any(|cause| cause.contains("No space left")),
                "{causes:?}"
            );
        }
    }

    #[test]
    fn rows_that_somebody_else_has_cut_or_written_into_are_not_gone_on_with() {
        for others in ["", "garbage without an end"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("index.jsonl");
            let index = fs_err::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path);
            let job = Job {
                artifacts: ArtifactFiles::new(RunDir::new(directory.path())),
                logs: LogFiles::new(RunDir::new(directory.path()), 1),
                rows: RowAppender::new(&RunDir::new(directory.path()), 1, index.unwrap()).unwrap(),
                lock: FilePlace::at(directory.path()).unwrap(),
                session: 1,
                seq: 1,
                progress: Progress::nowhere(),
            };
            let (sender, receiver) = mpsc::channel();
            let writer = Writer::start(job, move |written| sender.send(written).unwrap()).unwrap();
            let record = |ordinal| {
                writer.record(vec![entry(ordinal, 1, Outcome::Passed)]);
                writer.flush();
                receiver.recv().unwrap().error
            };
            assert!(record(0).is_none());
            // In its place, as `>` and `>>` of a shell do.
            fs_err::write(&path, others).unwrap();
            let error = record(1).unwrap();
            assert!(matches!(error, RecordError::Stopped(_)), "{error}");
            assert!(
                causes(&error)
                    .iter()
                    .any(|cause| cause.contains("index.jsonl"))
            );
            drop(writer);
            assert_eq!(fs_err::read_to_string(&path).unwrap(), others);
        }
    }

    fn causes(error: &dyn std::error::Error) -> Vec<String> {
        std::iter::successors(Some(error), |error| error.source())
            .map(ToString::to_string)
            .collect()
    }
}
