//! [`TrialPages`]: a value for each trial, by ordinal, in memory for those parts of a plan alone that somebody has written to.

use std::ops::Range;

/// How many values are made at once.
pub(super) const PAGE: usize = 4096;

/// A value for each trial of a plan, by ordinal. What a manifest says of the size of its plan takes no memory, and a row that
/// names the last trial of a large plan takes one page.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::record) struct TrialPages<T> {
    pages: Vec<Option<Box<[T]>>>,
}

impl<T> Default for TrialPages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T: Default> TrialPages<T> {
    /// The value in a place, if something was written near it; it has its first value otherwise.
    pub(in crate::record) fn get(&self, place: u64) -> Option<&T> {
        let (page, within) = split(place)?;
        self.pages.get(page)?.as_ref()?.get(within)
    }

    /// The value in a place, to be written.
    ///
    /// # Panics
    ///
    /// If no plan can have so many trials.
    pub(in crate::record) fn slot(&mut self, place: u64) -> &mut T {
        let (page, within) = split(place).expect("a plan fits into memory");
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(new_page);
        &mut page[within]
    }

    /// Everything in the pages that were made, with its place.
    pub(in crate::record) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let pages = (0_u64..).step_by(PAGE).zip(&self.pages);
        pages.flat_map(|(first, page)| (first..).zip(page.iter().flatten()))
    }

    /// The places of everything outside of which nothing was written.
    pub(in crate::record) fn ranges(&self) -> Vec<Range<u64>> {
        let pages = (0_u64..).step_by(PAGE).zip(&self.pages);
        let made = pages.filter(|(_, page)| page.is_some());
        made.map(|(first, _)| first..first + PAGE as u64).collect()
    }

    /// How many values were made.
    pub(in crate::record) fn made(&self) -> usize {
        self.pages.iter().flatten().count() * PAGE
    }

    /// Takes the page that begins at a place, and leaves nothing there.
    pub(in crate::record) fn take_page(&mut self, first: u64) -> Option<Box<[T]>> {
        let (page, 0) = split(first)? else {
            return None;
        };
        self.pages.get_mut(page)?.take()
    }
}

fn split(place: u64) -> Option<(usize, usize)> {
    let place = usize::try_from(place).ok()?;
    Some((place / PAGE, place % PAGE))
}

fn new_page<T: Default>() -> Box<[T]> {
    (0..PAGE).map(|_| T::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::{PAGE, TrialPages};

    #[test]
    fn memory_is_made_for_the_pages_that_were_written_to() {
        let mut numbers = TrialPages::<u16>::default();
        let far = 90_000_000;
        assert_eq!(numbers.get(far), None);
        *numbers.slot(far) = 7;
        *numbers.slot(3) = 5;
        assert_eq!((numbers.get(far), numbers.get(3)), (Some(&7), Some(&5)));
        assert_eq!((numbers.get(4), numbers.get(PAGE as u64)), (Some(&0), None));
        assert_eq!(numbers.pages.iter().flatten().count(), 2);
        let pages = [0, far / PAGE as u64].map(|page| page * PAGE as u64);
        let ranges = pages.map(|first| first..first + PAGE as u64);
        assert_eq!(numbers.ranges(), ranges);
        let written = numbers.iter().filter(|(_, number)| **number != 0);
        assert_eq!(written.collect::<Vec<_>>(), [(3, &5), (far, &7)]);
        assert_eq!(numbers.take_page(0).map(|page| page[3]), Some(5));
        assert_eq!(numbers.take_page(0), None);
    }
}
