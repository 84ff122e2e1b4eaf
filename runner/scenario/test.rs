//! [`Test`]: one case, resolved: everything a trial needs to know but its provider.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{Expected, ExpectedError};
use crate::model::{Digest, ErrorClass, TestId};

/// One case, with its list's and its scenario's defaults applied.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its place in the suite, from 0.
    pub index: u64,
    /// The ordinal of its first trial.
    pub first_ordinal: u64,
    /// Its id.
    pub id: TestId,
    /// What the provider gets, as canonical JSON text.
    pub input: Arc<str>,
    /// What a good output is like, as JSON text, if the test says it; for graders alone.
    pub reference: Option<Arc<str>>,
    /// What must come.
    pub expect: Arc<Expected>,
    /// On which providers it runs.
    pub providers: ProviderSet,
    /// How long one attempt may take; `None` leaves it to the run.
    pub timeout: Option<Duration>,
    /// How long all attempts of a trial may take together.
    pub trial_timeout: Option<Duration>,
    /// Which attempts are made again.
    pub retries: Arc<Retries>,
    /// Which trials it has on each provider.
    pub repeats: Repeats,
    /// Words to select it by; sorted, each once.
    pub tags: Arc<[String]>,
    /// What it says of itself, for those who read its results: texts, numbers and booleans.
    pub meta: Arc<Map<String, Value>>,
    /// Files that are handed over with it, sorted by name.
    pub files: Arc<[Attachment]>,
    /// SHA-256 of what of it decides what a provider does: id, input, tags and files.
    pub execution: Digest,
    /// SHA-256 of what decides what that means: the expectation, and the reference if there is one.
    pub judgement: Digest,
}

impl Test {
    /// How many trials it makes.
    pub fn trial_count(&self) -> u64 {
        self.providers.count() as u64 * self.repeats.count()
    }
}

/// Some of a scenario's providers, by their places in it, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSet(pub(super) Arc<[u32]>);

impl ProviderSet {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The places of the providers in the scenario.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|index| *index as usize)
    }

    /// The `nth` of them.
    pub fn get(&self, nth: usize) -> Option<usize> {
        self.0.get(nth).map(|index| *index as usize)
    }
}

/// Which of a test's repeats there are: all of them, or those that a shard has. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// From 1 to this number.
    All(u32),
    /// These, ascending.
    Some(Arc<[u32]>),
}

impl Repeats {
    /// How many there are.
    pub fn count(&self) -> u64 {
        match self {
            Self::All(count) => u64::from(*count),
            Self::Some(repeats) => repeats.len() as u64,
        }
    }

    /// The one with this place among them, from 0.
    pub fn nth(&self, nth: u64) -> Option<u32> {
        match self {
            Self::All(count) => u32::try_from(nth)
                .ok()
                .filter(|nth| nth < count)
                .map(|nth| nth + 1),
            Self::Some(repeats) => repeats.get(usize::try_from(nth).ok()?).copied(),
        }
    }

    /// Those behind `repeat`, each with its place.
    pub fn behind(&self, repeat: u32) -> impl Iterator<Item = (u64, u32)> + '_ {
        let first = match self {
            Self::All(_) => u64::from(repeat),
            Self::Some(repeats) => repeats.partition_point(|known| *known <= repeat) as u64,
        };
        (first..).map_while(|nth| Some((nth, self.nth(nth)?)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.behind(0).map(|(_, repeat)| repeat)
    }
}

/// A file that is handed over with a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name for the provider.
    pub name: String,
    /// Guessed from the name.
    pub media_type: String,
    /// What its bytes hash to.
    pub sha256: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Which attempts are made again, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// How many times at most, the first attempt not counted.
    pub max: u32,
    /// How long to wait before the first retry.
    pub backoff: Duration,
    /// After what.
    pub on: Vec<RetryOn>,
}

impl Retries {
    /// What is retried where a scenario does not say: what may be gone a moment later.
    pub(super) fn transient() -> Vec<RetryOn> {
        vec![
            RetryOn::Class(ErrorClass::Unavailable),
            RetryOn::Class(ErrorClass::RateLimited),
        ]
    }
}

/// What a retry may follow.
pub type RetryOn = ExpectedError;
