//! Scores of trials.

use super::line::{RowHead, RowRef};
use crate::Outcome;

impl RowRef<'_> {
    /// Returns the trial's score: the weighted mean of its graders' scores, or else the provider's own. `None` unless the trial
    /// passed or failed.
    pub fn trial_score(&self) -> Option<f64> {
        let grades = self.grades.iter().filter(|grade| !grade.partial);
        let scores = grades.filter_map(|grade| Some((grade.score?, grade.weight)));
        trial_score(self.outcome, scores, self.score)
    }
}

impl RowHead {
    /// Returns the trial's score, as [`RowRef::trial_score`] does.
    pub fn trial_score(&self) -> Option<f64> {
        let grades = self.grades.iter().filter(|grade| !grade.partial);
        let scores = grades.filter_map(|grade| Some((grade.score?, grade.weight)));
        trial_score(self.outcome, scores, self.score)
    }
}

/// Returns the mean of scores with their weights, or else the provider's own score.
fn trial_score(
    outcome: Outcome,
    grades: impl Iterator<Item = (f64, f64)>,
    own: Option<f64>,
) -> Option<f64> {
    // If one grader ends in an error, the scores of the others do not count. A score of 100 beyond `max_score` is an
    // error, too, and would outweigh all others in a mean.
    if !matches!(outcome, Outcome::Passed | Outcome::Failed) {
        return None;
    }
    let add =
        |(sum, weights), (score, weight): (f64, f64)| (sum + score * weight, weights + weight);
    let (sum, weights) = grades.fold((0.0, 0.0), add);
    if weights > 0.0 { Some(sum / weights) } else { own }
}
