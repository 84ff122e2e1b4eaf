//! Numbers, keys and texts of JSON are compared as they were written.
