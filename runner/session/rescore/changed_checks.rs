//! Which checks of a trial are not what they were.

use crate::{model::CheckVerdict, record::RowCheck, view::RescoredCheck};

/// A check as it is now.
pub(super) struct JudgedCheck<'a> {
    pub(super) name: &'a str,
    pub(super) verdict: CheckVerdict,
    pub(super) message: Option<&'a str>,
}

/// The checks that came, went or ended otherwise: those of the same name are compared in their order.
pub(super) fn changed_checks<'a>(
    before: &[RowCheck<'_>],
    after: impl Iterator<Item = JudgedCheck<'a>>,
) -> Vec<RescoredCheck> {
    let mut before: Vec<_> = before.iter().map(Some).collect();
    let mut changed = Vec::new();
    for check in after {
        let same_name =
            |old: &&mut Option<&RowCheck<'_>>| old.is_some_and(|old| *old.name == *check.name);
        let was = before.iter_mut().find(same_name).and_then(Option::take);
        let was: Option<CheckVerdict> = was.map(|was| was.verdict);
        if was != Some(check.verdict) {
            changed.push(RescoredCheck {
                name: check.name.to_owned(),
                before: was,
                after: Some(check.verdict),
                message: check.message.map(str::to_owned),
            });
        }
    }
    changed.extend(before.into_iter().flatten().map(|gone| RescoredCheck {
        name: gone.name.clone().into_owned(),
        before: Some(gone.verdict),
        after: None,
        message: None,
    }));
    changed
}
