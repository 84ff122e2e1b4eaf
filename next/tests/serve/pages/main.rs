//! The pages of the server, in Chromium.
