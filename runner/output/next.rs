//! What to type next.

/// Says how to go on with a run.
pub fn resume_line(command: &str) -> String {
    format!("resume with: {command}")
}
