//! The repository itself: its documentation, schemas and examples are what the program does.

mod docs;
mod printed;
mod reference;
mod scenarios;
mod schemas;
