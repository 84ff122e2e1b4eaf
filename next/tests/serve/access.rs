//! Access rules of the server.
