//! What guests were refused, for whoever may grant it.

use crate::model::Denied;

/// How many different denials of one attempt are kept.
const MAX_DENIED: usize = 20;

/// Keeps a denial, once, while there is room for more.
pub(super) fn keep_denial(kept: &mut Vec<Denied>, denied: &Denied) {
    if kept.len() < MAX_DENIED && !kept.contains(denied) {
        kept.push(denied.clone());
    }
}

/// The beginning of what a guest made up, which may be as long as it likes.
pub(super) fn escaped_start(text: &str, characters: usize) -> String {
    let mut escaped = text.escape_debug();
    let mut shown: String = escaped.by_ref().take(characters).collect();
    // What is left of a secret before such a mark is taken out.
    if escaped.next().is_some() {
        shown.push('…');
    }
    shown
}
