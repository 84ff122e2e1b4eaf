//! Subjects, documents and pieces that coordinators and workers exchange over NATS.
//!
//! A worker finds sessions in the bucket [`OFFERS`] and requests on [`join_subject`] to join one. The answer opens a link: each
//! end publishes pieces on its own subject. `window` keeps their order and repeats lost ones, and `seal` encrypts them. Offers
//! and answers are signed, see `key`.

use std::collections::BTreeMap;

use runner_engine::remote::{Blame, WorkerExit, monotonic};
use runner_model::{Digest, TaskId, digest, protocol::SlotWord, visible::visible_line};
use serde::{Deserialize, Serialize};

/// The version of all documents here. Ends of different versions of the program do not connect.
pub const VERSION: u8 = 1;
/// The version of this program.
pub const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Key-value bucket of the sessions that workers can join, by session token. Entries last [`ENTRY_SECONDS`].
pub const OFFERS: &str = "runner-offers";
/// Key-value bucket of the workers that are connected, by name. Entries last [`ENTRY_SECONDS`].
pub const WORKERS: &str = "runner-workers";
/// Object store of plugins, attachments, schemas and large tests, by digest.
pub const BLOBS: &str = "runner-blobs";
/// Seconds after which an entry of a bucket expires unless it is renewed.
pub const ENTRY_SECONDS: u64 = 10;
/// Bytes of content in a piece.
pub const MAX_PIECE: usize = 256 << 10;
/// Bytes of a document in a message.
pub const MAX_DOCUMENT: usize = 64 << 10;
/// Bytes of a piece's head.
pub const PIECE_HEAD: usize = 25;
/// Bytes that [`Sealer`](crate::seal::Sealer) adds to a piece: its number and a tag.
pub const SEAL: usize = 8 + 16;
/// Bytes of a link's stream that may be in transit or unread.
pub const MAX_OUTSTANDING: u64 = 8 << 20;
/// Maximum number of characters of a text from another machine that is shown.
const MAX_TEXT: usize = 2_000;

/// Returns the subject of requests of a broker's user to join a session, for which [`BrokerOptions::user`] is the name. A broker
/// can allow a user only its own name, so that no user takes the places of others. `*` for all users.
///
/// [`BrokerOptions::user`]: crate::BrokerOptions::user
pub fn join_subject(session: &str, user: &str) -> String {
    format!("runner.join.{session}.{user}")
}

/// Returns the token of the link that a request to join opens. It depends on the whole request, so a changed request opens
/// another link.
pub fn link_of(join: &[u8]) -> String {
    digest(join).to_string()[..32].to_owned()
}

/// Returns the subject of a link's pieces for the coordinator.
pub fn up_subject(link: &str) -> String {
    format!("runner.link.{link}.up")
}

/// Returns the subject of a link's pieces for the worker.
pub fn down_subject(link: &str) -> String {
    format!("runner.link.{link}.down")
}

/// The role of this process on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Coordinator,
    Worker,
}

/// A session that workers can join. These fields must not change: a worker of another version needs them to report the
/// difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Version of the program.
    pub version: String,
    /// Token of the session, 16 hexadecimal digits.
    pub token: String,
    /// The run's id.
    pub run: String,
    /// Labels that a worker must have.
    pub labels: BTreeMap<String, String>,
    /// Name of the coordinator's machine.
    pub host: String,
    /// Whether the session has ended. A deleted entry does not count, because any user can delete it.
    pub is_over: bool,
}

impl OfferDocument {
    /// Returns whether `labels` of a worker include all labels of the offer.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// A worker that is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Version of the program.
    pub version: String,
    /// Name of the worker.
    pub name: String,
    /// Random token of the process, which distinguishes workers of one name.
    pub instance: String,
    /// Name of the worker's machine.
    pub host: String,
    /// Process on that machine.
    pub pid: u32,
    /// Start of the worker, RFC 3339.
    pub since: String,
    /// Attempts that run at once.
    pub slots: u32,
    /// Bytes for the memories of all guests together.
    pub memory: u64,
    pub labels: BTreeMap<String, String>,
    /// Public keys of the runs that the worker accepts. Empty if it accepts unsigned ones.
    pub keys: Vec<String>,
    /// Ids of the runs whose sessions the worker has joined.
    pub runs: Vec<String>,
}

/// The request of a worker process to join a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Version of the program.
    pub version: String,
    /// Name of the worker and number of the process, such as `gpu-3f2a/1`.
    pub name: String,
    /// Token of the session.
    pub session: String,
    /// Public key of the worker for this link, see `seal`.
    pub key: [u8; 32],
    /// Attempts that run at once.
    pub slots: u32,
    /// Bytes for the memories of all guests together.
    pub memory: u64,
    /// Whether the process is only for attempts that may have ended a worker.
    pub is_spare: bool,
}

/// The answer to a [`JoinDocument`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// Always [`VERSION`].
    pub v: u8,
    /// Token of the session. Another session of the same key can answer, too.
    pub session: String,
    /// Digest of the request, which is different for each link.
    pub join: Digest,
    /// Public key of the coordinator for this link, see `seal`.
    pub key: [u8; 32],
    /// Reason for the refusal. `None` if the link is open.
    pub problem: Option<String>,
}

/// A message about a link itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// The worker process has ended. The last message of a worker.
    Exited(ExitDocument),
    /// The worker runs no attempts of this session. The last message of a worker. Holds the reason.
    Declined(String),
    /// The coordinator no longer needs the worker. The last message of a coordinator.
    Close,
}

/// The end of a worker process on another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitDocument {
    /// Running tasks, each with the microseconds since its start.
    pub started: Vec<(u64, u64)>,
    /// Whether the process died. A running task may be the cause.
    pub died: bool,
    /// Task that was stuck, so that the process was killed. `None` if no task was.
    pub stuck: Option<u64>,
    /// Description that completes a sentence starting with the worker.
    pub how: String,
}

impl From<WorkerExit> for ExitDocument {
    fn from(exit: WorkerExit) -> Self {
        let now = monotonic();
        let (died, stuck) = match exit.blame {
            Some(Blame::Stuck(task)) => (false, Some(task.0)),
            blame => (blame.is_some(), None),
        };
        let started = exit.started.iter().map(|word| (word.task, now.saturating_sub(word.started)));
        Self { started: started.collect(), died, stuck, how: exit.how }
    }
}

impl From<ExitDocument> for WorkerExit {
    /// Converts the document by the clock of this machine. Texts are escaped, on one line.
    fn from(exit: ExitDocument) -> Self {
        let now = monotonic();
        let word =
            |(task, age): &(u64, u64)| SlotWord { task: *task, started: now.saturating_sub(*age) };
        let stuck = exit.stuck.map(|task| Blame::Stuck(TaskId(task)));
        let blame = stuck.or(exit.died.then_some(Blame::Died));
        Self { started: exit.started.iter().map(word).collect(), blame, how: shown(&exit.how) }
    }
}

/// Returns a text from another machine on one line, without control characters and at a bounded length.
pub fn shown(text: &str) -> String {
    visible_line(text).chars().take(MAX_TEXT).collect()
}

/// Content of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only the head: the receipt of earlier pieces.
    Receipt,
    /// The next bytes of the stream of frames.
    Frames,
    /// A [`Control`] as JSON.
    Control,
}

/// One message of a link: a part of the stream of one direction, as in TCP.
///
/// The form is: the kind as u8; offset, received and limit as u64 (little-endian); the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub kind: Kind,
    /// Bytes of content in all earlier pieces of the sender.
    pub offset: u64,
    /// Bytes of content that have arrived at the sender in order.
    pub received: u64,
    /// Bytes of content, from the start, that the sender accepts. Never decreases.
    pub limit: u64,
    pub content: &'a [u8],
}

impl<'a> Piece<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PIECE_HEAD + self.content.len());
        bytes.push(match self.kind {
            Kind::Receipt => 0,
            Kind::Frames => 1,
            Kind::Control => 2,
        });
        for number in [self.offset, self.received, self.limit] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.content);
        bytes
    }

    /// Decodes a message. `None` if [`Self::encode`] does not return such a message.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (numbers, content) = rest.split_first_chunk::<{ PIECE_HEAD - 1 }>()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [offset, received, limit] = [0, 1, 2].map(|place| u64::from_le_bytes(numbers[place]));
        let kind = match kind {
            0 if content.is_empty() => Kind::Receipt,
            1 if (1..=MAX_PIECE).contains(&content.len()) => Kind::Frames,
            2 if (1..=MAX_DOCUMENT).contains(&content.len()) => Kind::Control,
            _ => return None,
        };
        Some(Self { kind, offset, received, limit, content })
    }
}
