//! `plugin doctor` looks at a folder and executes nothing of it.
