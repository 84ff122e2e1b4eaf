//! [`SuiteOutline`]: what reading a stored suite whole tells, so that another process need not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use super::{
    definition::read_definition,
    suite::{Suite, SuiteData, out_of_range},
    suite_index::{SuiteIndex, TestBlock},
};
use crate::model::Digest;

/// What reading a stored suite whole tells, as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteOutline {
    /// What the file hashes to.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many tests there are.
    pub tests: u64,
    /// How many trials these make.
    pub trials: u64,
    /// Where each block of tests begins in the file, with which test, and with which trial.
    pub blocks: Vec<[u64; 3]>,
    /// Where each line is that defines a schema, and how long it is, in bytes.
    pub definitions: Vec<[u64; 2]>,
}

impl Suite {
    /// What another process needs to know to open its file once that is stored.
    pub fn outline(&self) -> SuiteOutline {
        let SuiteIndex {
            blocks,
            bytes,
            tests,
            trials,
            definitions,
        } = self.inner.index.clone();
        let blocks = blocks.into_iter();
        SuiteOutline {
            digest: self.digest(),
            bytes,
            tests,
            trials,
            blocks: blocks
                .map(|block| [block.offset, block.test, block.ordinal])
                .collect(),
            definitions: definitions.into_iter().map(<[u64; 2]>::from).collect(),
        }
    }

    /// Opens a stored suite without reading it.
    ///
    /// # Errors
    ///
    /// Fails if it is not the file that the outline is of, as far as its length tells, or a schema cannot be read.
    pub fn open_with(file: File, outline: SuiteOutline) -> io::Result<Self> {
        if file.metadata()?.len() != outline.bytes {
            return Err(io::Error::other("the list of tests has another length"));
        }
        let blocks = outline.blocks.into_iter();
        let index = SuiteIndex {
            blocks: blocks
                .map(|[offset, test, ordinal]| TestBlock {
                    offset,
                    test,
                    ordinal,
                })
                .collect(),
            bytes: outline.bytes,
            tests: outline.tests,
            trials: outline.trials,
            definitions: outline
                .definitions
                .into_iter()
                .map(<(u64, u64)>::from)
                .collect(),
        };
        let mut schemas = BTreeMap::new();
        for (offset, length) in &index.definitions {
            let mut line = vec![0; usize::try_from(*length).map_err(|_| out_of_range())?];
            file.read_exact_at(&mut line, *offset)?;
            schemas.extend([read_definition(&line)?]);
        }
        let inner = SuiteData {
            file: Arc::new(file),
            is_new: false,
            digest: outline.digest,
            index,
            schemas: Arc::new(schemas),
            stored_attachments: BTreeSet::new(),
            attachments: BTreeMap::new(),
            named: BTreeSet::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}
