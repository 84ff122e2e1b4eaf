//! The worker process, which runs tasks and judges replies.
