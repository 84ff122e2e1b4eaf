//! [`TrialSlots`]: something of each trial, by ordinal, in memory for those alone that rows tell of.

use std::{
    iter::{self, Chain, RepeatWith, Take},
    vec,
};

/// Something of each trial of a plan, by ordinal. A manifest may say of any number of trials that they are planned: room is
/// taken once a row tells of one.
#[derive(Debug, PartialEq)]
pub struct TrialSlots<T> {
    slots: Vec<Option<T>>,
    planned: usize,
}

impl<T> TrialSlots<T> {
    pub(super) fn new(planned: u64) -> Self {
        let planned = usize::try_from(planned).unwrap_or(usize::MAX);
        Self {
            slots: Vec::new(),
            planned,
        }
    }

    /// The place of a trial, if it is of the plan.
    pub(super) fn at(&mut self, ordinal: u64) -> Option<&mut Option<T>> {
        let place = usize::try_from(ordinal).ok();
        let place = place.filter(|place| *place < self.planned)?;
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, || None);
        }
        self.slots.get_mut(place)
    }

    /// The same with what `change` makes of what is there.
    pub(super) fn map<U>(self, mut change: impl FnMut(u64, T) -> Option<U>) -> TrialSlots<U> {
        let slots = (0..).zip(self.slots);
        let slots = slots.map(|(ordinal, slot)| change(ordinal, slot?));
        TrialSlots {
            slots: slots.collect(),
            planned: self.planned,
        }
    }
}

/// As many as are planned.
impl<T> IntoIterator for TrialSlots<T> {
    type Item = Option<T>;
    type IntoIter = Chain<vec::IntoIter<Option<T>>, Take<RepeatWith<fn() -> Option<T>>>>;

    fn into_iter(self) -> Self::IntoIter {
        let others: RepeatWith<fn() -> Option<T>> = iter::repeat_with(|| None);
        let others = others.take(self.planned - self.slots.len());
        self.slots.into_iter().chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::TrialSlots;

    #[test]
    fn there_are_as_many_as_are_planned_and_room_for_those_alone_that_were_asked_for() {
        let mut slots = TrialSlots::new(4);
        *slots.at(1).unwrap() = Some('b');
        *slots.at(2).unwrap() = Some('c');
        assert_eq!(slots.at(4), None);
        assert_eq!(slots.slots.len(), 3);
        let slots = slots.map(|ordinal, letter| (ordinal == 1).then_some(letter));
        let all: Vec<_> = slots.into_iter().collect();
        assert_eq!(all, [None, Some('b'), None, None]);
    }
}
