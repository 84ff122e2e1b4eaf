//! Cases of one test that mostly wait.

use std::thread;

/// Checks all cases at once, each in a thread of its own.
pub(crate) fn at_once<C: Send>(cases: impl IntoIterator<Item = C>, check: impl Fn(C) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}
