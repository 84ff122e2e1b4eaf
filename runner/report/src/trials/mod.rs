//! Trials: the page of one, the matrix of a run, and the history of a scenario.

mod document;
mod history;
mod matrix;
mod page;
mod parts;
mod past;

pub use document::{ArtifactFile, Found, LogText, TrialDocument, find_trial};
pub use history::{
    By, HistoryDocument, HistoryQuery, Mark, PastResults, PastRun, PastSum, PastTest, PastTests,
};
pub use matrix::{MatrixCell, MatrixDocument, MatrixTest, MatrixTests};
pub use page::{Section, call_sections};
pub use parts::TrialPart;
pub use past::PastResult;
