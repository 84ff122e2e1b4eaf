//! Test lists and globs that are hostile or give no test.
