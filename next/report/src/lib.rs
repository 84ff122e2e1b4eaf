//! One typed document for each question about runs: what `--json` prints, and what commands put into words.
//!
//! It reads runs through `record` and writes nothing. Begin reading at [`RunDocument`].
