//! How hard a run is asked to stop.

/// How hard a run is asked to stop, from the mildest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StopMode {
    /// No new trials; those in flight finish under their own deadlines.
    Drain,
    /// No new trials; guests see `stop-requested` and are interrupted after the grace.
    Stop,
    /// The same, and nobody wants the rest of the run any more.
    Cancel,
    /// No grace.
    Kill,
}

impl StopMode {
    /// Every mode, the mildest first.
    pub const ALL: [Self; 4] = [Self::Drain, Self::Stop, Self::Cancel, Self::Kill];

    /// The word for it in file names and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Cancel => "cancel",
            Self::Kill => "kill",
        }
    }

    /// Reads [`StopMode::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}
