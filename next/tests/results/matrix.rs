//! `show --matrix`.
