//! `runner label`.
