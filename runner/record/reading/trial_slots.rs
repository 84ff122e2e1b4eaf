//! [`TrialSlots`]: something of each trial, by ordinal, in memory for those alone that rows tell of.

use std::vec;

use super::trial_pages::{PAGE, TrialPages};

/// Something of each trial of a plan, by ordinal. A manifest may say of any number of trials that they are planned: room is
/// taken once a row tells of one.
#[derive(Debug, PartialEq)]
pub struct TrialSlots<T> {
    slots: TrialPages<Option<T>>,
    planned: u64,
}

impl<T> TrialSlots<T> {
    pub(super) fn new(planned: u64) -> Self {
        Self {
            slots: TrialPages::default(),
            planned,
        }
    }

    /// The place of a trial, if it is of the plan.
    pub(super) fn at(&mut self, ordinal: u64) -> Option<&mut Option<T>> {
        (ordinal < self.planned).then(|| self.slots.slot(ordinal))
    }

    /// The same with what `change` makes of what is there.
    pub(super) fn map<U>(mut self, mut change: impl FnMut(u64, T) -> Option<U>) -> TrialSlots<U> {
        let mut changed = TrialSlots::new(self.planned);
        for first in (0..self.planned).step_by(PAGE) {
            let page = self.slots.take_page(first).into_iter().flatten();
            for (ordinal, slot) in (first..).zip(page) {
                if let Some(slot) = slot.and_then(|slot| change(ordinal, slot)) {
                    *changed.slots.slot(ordinal) = Some(slot);
                }
            }
        }
        changed
    }
}

/// As many as are planned.
impl<T> IntoIterator for TrialSlots<T> {
    type Item = Option<T>;
    type IntoIter = IntoSlots<T>;

    fn into_iter(self) -> Self::IntoIter {
        IntoSlots {
            slots: self,
            next: 0,
            page: Vec::new().into_iter(),
        }
    }
}

/// Gives what there is of each trial, in the plan's order.
#[derive(Debug)]
pub struct IntoSlots<T> {
    slots: TrialSlots<T>,
    next: u64,
    page: vec::IntoIter<Option<T>>,
}

impl<T> Iterator for IntoSlots<T> {
    type Item = Option<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.slots.planned {
            return None;
        }
        if let Some(page) = self.slots.slots.take_page(self.next) {
            self.page = page.into_vec().into_iter();
        }
        self.next += 1;
        Some(self.page.next().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::TrialSlots;

    #[test]
    fn there_are_as_many_as_are_planned_and_room_for_those_alone_that_were_asked_for() {
        let mut slots = TrialSlots::new(4);
        assert_eq!(slots.slots.iter().count(), 0);
        *slots.at(1).unwrap() = Some('b');
        *slots.at(2).unwrap() = Some('c');
        assert_eq!(slots.at(4), None);
        let room = slots.slots.iter().count();
        assert_eq!(room, super::PAGE);
        let slots = slots.map(|ordinal, letter| (ordinal == 1).then_some(letter));
        let all: Vec<_> = slots.into_iter().collect();
        assert_eq!(all, [None, Some('b'), None, None]);
    }
}
