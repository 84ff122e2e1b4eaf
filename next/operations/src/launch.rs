//! Starts `exec`, `resume` and `rescore` as processes of their own.
