//! Reports as JUnit, Markdown and CSV.
