//! Changes over HTTP.
