//! Reads scenarios, test lists and settings.
