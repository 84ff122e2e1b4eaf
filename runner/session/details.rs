//! [`DetailSpool`]: what reports tell of single trials, in a file without a name until somebody asks for it: of a large run it
//! is more than memory has room for.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::FileExt as _,
};

use crate::{
    record::RunReader,
    view::{ReportTrial, TrialDetails},
};

/// Bytes of a text that stays with its trial.
const MAX_KEPT: usize = 256;

/// Puts the details of trials into a file.
pub(super) struct DetailSpool {
    file: BufWriter<File>,
    places: HashMap<u64, SpooledDetail>,
    end: u64,
    line: Vec<u8>,
    failure: Option<io::Error>,
}

/// Where in the file, and how many bytes.
#[derive(Clone, Copy)]
struct SpooledDetail {
    at: u64,
    bytes: usize,
    /// Which attempt they are of.
    attempt: u32,
}

/// Details that can be read back.
struct Details {
    file: File,
    places: HashMap<u64, SpooledDetail>,
    reader: RunReader,
}

impl DetailSpool {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            places: HashMap::new(),
            end: 0,
            line: Vec::new(),
            failure: None,
        })
    }

    /// Takes the details of a trial from this attempt, if it has so many of them; what was taken of the same trial before
    /// counts no more. After a failure nothing more is taken, and `finish` reports it.
    pub(super) fn take(&mut self, trial: &mut ReportTrial, attempt: u32) {
        self.places.remove(&trial.ordinal);
        let is_long = |text: &str| text.len() > MAX_KEPT;
        let is_short = trial.evidence.is_none()
            && trial.denied.is_empty()
            && trial.artifacts.is_empty()
            && !trial.summary.as_deref().is_some_and(is_long)
            && trial.grades.iter().all(|grade| {
                grade.log.is_empty()
                    && !grade.explanation.as_deref().is_some_and(is_long)
                    && !is_long(&grade.stdout)
                    && !is_long(&grade.stderr)
            })
            && !trial
                .error
                .as_ref()
                .is_some_and(|error| is_long(&error.message));
        if is_short || self.failure.is_some() {
            return;
        }
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, trial)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(&self.line));
        if let Err(error) = written {
            self.failure = Some(error);
            return;
        }
        let place = SpooledDetail {
            at: self.end,
            bytes: self.line.len(),
            attempt,
        };
        self.end += place.bytes as u64;
        self.places.insert(trial.ordinal, place);
        trial.evidence = None;
        for grade in &mut trial.grades {
            grade.explanation = None;
            grade.log = Vec::new();
            grade.stdout = "".into();
            grade.stderr = "".into();
        }
        trial.summary = None;
        trial.denied = Vec::new();
        trial.artifacts = Vec::new();
        if let Some(error) = &mut trial.error {
            error.message = "".into();
        }
    }

    /// What was taken of the run that `reader` reads, to be read.
    pub(super) fn finish(self, reader: &RunReader) -> io::Result<Box<dyn TrialDetails>> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let file = self.file.into_inner();
        let file = file.map_err(io::IntoInnerError::into_error)?;
        Ok(Box::new(Details {
            file,
            places: self.places,
            reader: reader.clone(),
        }))
    }
}

impl TrialDetails for Details {
    fn of(&self, ordinal: u64) -> io::Result<Option<ReportTrial>> {
        let Some(place) = self.places.get(&ordinal) else {
            return Ok(None);
        };
        let mut line = vec![0; place.bytes];
        self.file.read_exact_at(&mut line, place.at)?;
        Ok(Some(serde_json::from_slice(&line)?))
    }

    fn file(&self, ordinal: u64, name: &str, bytes: u64) -> Option<Vec<u8>> {
        let attempt = self.places.get(&ordinal)?.attempt;
        let file = self.reader.artifact(ordinal, attempt, name).ok()?;
        let mut content = Vec::new();
        // One that has grown since is not what the provider left.
        let most = bytes.saturating_add(1);
        file.take(most).read_to_end(&mut content).ok()?;
        (content.len() as u64 == bytes).then_some(content)
    }
}
