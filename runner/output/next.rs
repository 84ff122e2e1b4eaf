//! What to type next.

use super::format;

/// Says how to go on with a run.
pub fn resume_line(command: &str) -> String {
    format!("resume with: {}", format::visible_line(command))
}
