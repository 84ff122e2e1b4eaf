//! File systems of guests: bounds, denials and errors.
