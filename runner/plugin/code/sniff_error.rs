//! [`SniffError`]: why a file is not a plugin.

use bytesize::ByteSize;
use thiserror::Error;

use super::version::ContractVersion;

/// Why a file is not a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SniffError {
    /// There are no bytes.
    #[error("is empty")]
    Empty,
    /// The magic number of WASM is not there.
    #[error("is not WASM")]
    NotWasm,
    /// It begins like WASM, but its sections cannot be read.
    #[error("is damaged WASM: {0}")]
    Damaged(String),
    /// It has more parts of one kind than are allowed.
    #[error("has {} {parts}, and at most {} are allowed", grouped(*count), grouped(*most))]
    TooMany {
        /// What they are.
        parts: &'static str,
        /// How many it says it has; of those nested in it only the first are counted.
        count: u64,
        /// How many are allowed.
        most: u64,
    },
    /// Its parts of one kind are larger in all than is allowed.
    #[error("has {bytes} of {parts}, and at most {most} are allowed")]
    TooLarge {
        /// What they are.
        parts: &'static str,
        /// How large they are, as far as they were counted.
        bytes: ByteSize,
        /// How large they may be.
        most: ByteSize,
    },
    /// Its components are nested too deep.
    #[error("has components nested more than {most} deep, and no more is allowed")]
    TooDeep {
        /// How deep they may be.
        most: usize,
    },
    /// Its imports are written as a proposal has it.
    #[error(
        "has imports that share the name of their module, which no compiler for plugins writes"
    )]
    SharedNames,
    /// Its components hand each other streams or futures.
    #[error(
        "makes streams or futures of the component model for its own parts, which nothing in the provider's world has"
    )]
    Streams,
    /// It instantiates a component that is not defined around the place.
    #[error(
        "instantiates a component that comes as an argument or out of an instance; only those that are defined around \
         the place are allowed"
    )]
    ForeignParts,
    /// A module without an entry point.
    #[error(
        "is a module without `_start`, so it is a library and not a command; build it as a program for WASI"
    )]
    NoStart,
    /// A component of another world.
    #[error(
        "is a component of another world: it exports neither `runner:provider/provider` nor `wasi:cli/run`, but {exports}"
    )]
    OtherWorld {
        /// What it exports instead.
        exports: String,
    },
    /// The contract, in a version that this host does not speak.
    #[error(
        "is built for version {guest} of the contract `runner:provider`, and this runner speaks {}{}",
        ContractVersion::HOST,
        remedy(guest)
    )]
    OtherContract {
        /// The version in the name of what it exports or imports, as written.
        guest: String,
    },
}

/// `20000000` as `20 000 000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn remedy(guest: &str) -> &'static str {
    match ContractVersion::parse(guest) {
        Some(version) if version.is_newer() => "; it needs a newer runner",
        Some(_) | None => "",
    }
}
