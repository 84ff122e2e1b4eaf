//! [`Settings`]: `runner.toml` of a results root.

use std::{error::Error, fmt};

use runner_model::Time;
use runner_record::{RecordError, ResultsRoot, SettingsFile};
use runner_scenario::{Problems, RootSettings};

/// The settings of a results root.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub keys: RootSettings,
    /// Reason why the file is ignored. The keys are then those of a root without the file.
    pub ignored: Option<String>,
    /// Last change of the file. `None` if it is missing or ignored.
    pub changed: Option<Time>,
}

/// Reason why the settings cannot be used.
#[derive(Debug)]
pub enum SettingsError {
    Record(RecordError),
    Problems(Problems),
}

impl Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(formatter),
            Self::Problems(problems) => formatter.write_str(&problems.render(false, 100)),
        }
    }
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or it has problems.
    pub fn read(root: &ResultsRoot) -> Result<Self, SettingsError> {
        match root.settings().map_err(SettingsError::Record)? {
            SettingsFile::Absent => Ok(Self::default()),
            SettingsFile::Ignored(why) | SettingsFile::Unconfirmed { why, .. } => {
                Ok(Self { ignored: Some(why), ..Self::default() })
            }
            SettingsFile::Text { text, changed } => {
                let path = root.path().join("runner.toml");
                let keys = RootSettings::parse(&path.to_string_lossy(), &text)
                    .map_err(SettingsError::Problems)?;
                Ok(Self { keys, ignored: None, changed: Some(changed) })
            }
        }
    }
}
