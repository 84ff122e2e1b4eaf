//! Checks of messages about mistakes.

use crate::still::assert_still;
use runner_scenario::Problems;

/// Asserts that problems can be shown at any width, and that their text cannot control a terminal. `source` is the text with the
/// problems.
pub fn assert_shown(problems: &Problems, source: &str) {
    assert!(problems.count() > 0);
    for problem in problems.listed() {
        assert!(!problem.message.is_empty());
    }
    for width in [40, 200] {
        let text = problems.render(false, width);
        assert_still(&text);
        assert!(text.len() <= (1 << 20) + 16 * source.len(), "{} bytes", text.len());
        assert!(problems.render(true, width).len() >= text.len());
    }
}
