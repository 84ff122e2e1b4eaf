//! The HTTP API and the pages of a results root: `runner serve`.
