//! JSON schemas of documents and files, and `runner schema`.
