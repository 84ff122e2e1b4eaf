//! [`Bundle`]: all that a worker on another machine needs to make attempts of a run, but what is too long for a message.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    setup::{decode_plan, encode_plan, read_digest},
    wire::{Decoder, Encoder, Frame, Garbled, Read},
};
use crate::{
    model::Digest,
    record::{ContentPaths, InFlight, Recorder, RunLikeness},
    run::plan::{HandedPlan, Plan},
    scenario::{SuiteSegment, SuiteSegments},
};

const KIND: u8 = 0xfe;
/// The bytes that say how long a frame is.
const LENGTH_BYTES: usize = 4;

/// What a run hands to workers on other machines: what it has stored of itself, and the names of the blobs that go with it.
/// Secrets are not in it, nor are folders.
pub struct Bundle {
    likeness: RunLikeness,
    pub(super) session: u32,
    pub(super) plan: HandedPlan,
    /// The pieces of the list of tests.
    segments: Arc<SuiteSegments>,
    blobs: Vec<Digest>,
}

impl Bundle {
    /// What the run of this session hands over.
    ///
    /// # Errors
    ///
    /// Fails if what it has stored cannot be read.
    pub fn of(plan: &Plan, recorder: &Recorder) -> io::Result<Self> {
        let mut handed = plan.handed();
        handed.secrets.clear();
        handed.folders.clear();
        let mut blobs = Vec::new();
        blobs.extend(plan.plugins().map(|plugin| plugin.file.sha256));
        // Those of a list that was made now, or of one that was stored.
        blobs.extend(plan.suite().attachments().map(|(digest, _)| digest));
        blobs.extend(plan.suite().attachment_digests());
        blobs.sort_unstable();
        blobs.dedup();
        Ok(Self {
            likeness: RunLikeness::of(recorder.run_dir())?,
            session: recorder.session(),
            plan: handed,
            segments: Arc::new(SuiteSegments::of(plan.suite())?),
            blobs,
        })
    }

    /// The plugins and attachments that it names.
    pub fn blobs(&self) -> &[Digest] {
        &self.blobs
    }

    /// The pieces of the list of tests, each of which is a blob, too.
    pub fn segments(&self) -> &Arc<SuiteSegments> {
        &self.segments
    }

    /// The digest of the list of tests itself, which no worker needs whole.
    pub fn suite(&self) -> Digest {
        self.plan.suite.digest
    }

    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Frame::begin(KIND);
        frame.bytes(&self.likeness.manifest);
        frame.bytes(&self.likeness.scenario);
        frame.u64(self.session.into());
        encode_plan(&mut frame, &self.plan);
        frame.list(&self.segments.pieces, encode_segment);
        frame.usize(self.segments.defining.len());
        for place in &self.segments.defining {
            frame.usize(*place);
        }
        frame.list(&self.blobs, |frame, digest| frame.str(&digest.to_string()));
        Frame::end(frame)
    }

    /// Reads what has come; `None` if it is no bundle.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read(bytes.get(LENGTH_BYTES..)?).ok()
    }

    /// Makes a directory called `name` below `root` from which its plan can be made.
    pub(super) fn make(&self, root: &Path, name: &str) -> io::Result<(PathBuf, InFlight)> {
        self.likeness.make(root, name, self.session)
    }

    /// Where what is made below `root` finds the blobs.
    pub fn content(root: &Path) -> ContentPaths {
        RunLikeness::content(root)
    }
}

fn read(frame: &[u8]) -> Read<Bundle> {
    let mut decoder = Decoder::new(frame);
    if decoder.u8()? != KIND {
        return Err(Garbled);
    }
    Ok(Bundle {
        likeness: RunLikeness {
            manifest: decoder.bytes()?.to_vec(),
            scenario: decoder.bytes()?.to_vec(),
        },
        session: decoder.u32()?,
        plan: decode_plan(&mut decoder)?,
        segments: Arc::new(SuiteSegments {
            pieces: decoder.list(decode_segment)?,
            defining: decoder.list(Decoder::usize)?.into_iter().collect(),
        }),
        blobs: decoder.list(read_digest)?,
    })
}

fn encode_segment(frame: &mut Encoder, segment: &SuiteSegment) {
    let SuiteSegment {
        bytes,
        first_ordinal,
        digest,
    } = segment;
    for number in [bytes.start, bytes.end, *first_ordinal] {
        frame.u64(number);
    }
    frame.str(&digest.to_string());
}

fn decode_segment(decoder: &mut Decoder<'_>) -> Read<SuiteSegment> {
    let bytes = decoder.u64()?..decoder.u64()?;
    if bytes.is_empty() {
        return Err(Garbled);
    }
    Ok(SuiteSegment {
        bytes,
        first_ordinal: decoder.u64()?,
        digest: read_digest(decoder)?,
    })
}
