//! [`Mistakes`]: the first mistakes in tests and lists, and how many there are.

use crate::scenario::{Mistake, ScenarioError, error::RecordPlace, source::RecordRefusal};

/// How many mistakes are reported.
const SHOWN_MISTAKES: usize = 10;

/// What is wrong with records.
#[derive(Default)]
pub(super) struct Mistakes {
    first: Vec<Mistake>,
    total: usize,
}

impl Mistakes {
    pub(super) fn add(&mut self, place: &RecordPlace, refusal: RecordRefusal) {
        self.total += 1;
        if self.first.len() < SHOWN_MISTAKES {
            self.first.push(Mistake {
                place: place.clone(),
                message: refusal.message,
                help: refusal.help,
            });
        }
    }

    pub(super) fn into_result(self) -> Result<(), ScenarioError> {
        if self.total == 0 {
            return Ok(());
        }
        let hidden = self.total - self.first.len();
        Err(ScenarioError::Tests {
            more: (hidden > 0)
                .then(|| format!("these are the first of them; {hidden} more are not shown")),
            mistakes: self.first,
            total: self.total,
        })
    }
}
