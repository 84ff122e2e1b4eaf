//! [`TestList`]: a test list as the scenario writes it.

use std::{collections::BTreeSet, path::PathBuf};

use globset::GlobSet;

use super::{Template, files::ListFile, settings::Settings, template::TemplateValue};

/// A test list as the scenario writes it.
#[derive(Clone, Debug)]
pub(super) struct TestList {
    pub(super) files: Vec<ListFile>,
    /// Where more of them may come to lie.
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) id: Option<Template>,
    pub(super) input: Option<TemplateValue>,
    pub(super) reference: Option<TemplateValue>,
    pub(super) expect: Option<TemplateValue>,
    pub(super) meta: Option<TemplateValue>,
    /// Its records are data, and not tests as they stand: there are templates.
    pub(super) is_data: bool,
    pub(super) providers: Vec<u32>,
    pub(super) settings: Settings,
    pub(super) select: Option<GlobSet>,
    pub(super) exclude: Option<GlobSet>,
}

impl TestList {
    /// Tells whether it says something of the tests that its records become.
    pub(super) fn fills_in(&self) -> bool {
        self.id.is_some()
            || [&self.input, &self.reference, &self.expect, &self.meta]
                .iter()
                .any(|shape| shape.is_some())
    }
}
