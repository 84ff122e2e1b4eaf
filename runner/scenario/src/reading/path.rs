//! [`At`]: the path to a value that is read, and [`Places`]: where paths are in files.

pub(crate) use runner_model::prepare::PathStep as Step;

use crate::problem::Place;

/// Returns a path of keys.
pub(crate) fn keys<'k>(path: impl IntoIterator<Item = &'k str>) -> Vec<Step> {
    path.into_iter().map(|key| Step::Key(key.to_owned())).collect()
}

/// Returns a path as templates write it.
pub(crate) fn dotted(root: &str, keys: &[String]) -> String {
    keys.iter().fold(root.to_owned(), |path, key| path + "." + key)
}

/// Returns whether a path in a scenario is of a regular expression of `expect`.
pub(crate) fn is_pattern(path: &[Step]) -> bool {
    let Some([start @ .., Step::Key(last)]) = path.get(2..) else { return false };
    let tables =
        [&["expect"][..], &["expect", "stderr"], &["expect", "not"], &["expect", "stderr", "not"]];
    last == "matches" && tables.iter().any(|table| *start == keys(table.iter().copied()))
}

/// The part of an entry to mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// Finds values in files.
pub(crate) trait Places {
    /// Returns the places of a value. If it does not exist, they are those of its nearest parent.
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place>;
}

/// Values that are in no file, such as defaults.
impl Places for () {
    fn places(&self, _: &[Step], _: Part, _: &str) -> Vec<Place> {
        Vec::new()
    }
}

/// The path to the value that is read, as a linked list on the stack.
// A list may have millions of records. Valid ones cost no allocation.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    step: Option<(&'a Self, BorrowedStep<'a>)>,
}

#[derive(Clone, Copy)]
enum BorrowedStep<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(crate) const ROOT: At<'static> = At { step: None };

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        At { step: Some((self, BorrowedStep::Key(key))) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        At { step: Some((self, BorrowedStep::Index(index))) }
    }

    /// Returns the steps from the root.
    pub(crate) fn path(&self) -> Vec<Step> {
        let Some((parent, step)) = self.step else {
            return Vec::new();
        };
        let mut path = parent.path();
        path.push(match step {
            BorrowedStep::Key(key) => Step::Key(key.to_owned()),
            BorrowedStep::Index(index) => Step::Item(index),
        });
        path
    }

    /// Returns the subject of a message about the value.
    pub(crate) fn subject(&self) -> String {
        match self.step {
            Some((_, BorrowedStep::Index(_))) => format!("each of `{}`", self.name()),
            _ => format!("`{}`", self.name()),
        }
    }

    /// Returns the last key.
    pub(crate) fn name(&self) -> &'a str {
        match self.step {
            Some((_, BorrowedStep::Key(key))) => key,
            Some((parent, BorrowedStep::Index(_))) => parent.name(),
            None => "",
        }
    }
}
