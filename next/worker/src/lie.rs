//! later
pub fn main(_: &[&str]) -> Result<(), String> {
    Ok(())
}
