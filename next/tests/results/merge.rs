//! `merge`.
