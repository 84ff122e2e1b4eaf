//! Whether the memory of a run has room for its providers and graders.

use bytesize::ByteSize;

use super::Validator;
use crate::scenario::{
    Provider, RunOptions,
    check::{At, Part},
};

impl Validator<'_> {
    /// Refuses a sum of memory into which a provider would never fit.
    pub(super) fn memory<'p>(
        &mut self,
        options: &RunOptions,
        providers: impl Iterator<Item = &'p Provider>,
    ) {
        let Some(memory) = options.memory else { return };
        let Some(largest) = providers.max_by_key(|provider| provider.limits.memory) else {
            return;
        };
        if largest.limits.memory > memory {
            let root = At::ROOT;
            let run = root.key("run");
            let message = format!("provider `{}` would never fit into this memory", largest.id);
            let limit = ByteSize(largest.limits.memory);
            let help =
                format!("its limit is {limit}: give more, or set `limits.memory` of the provider");
            self.report(
                &run.key("memory"),
                Part::Value,
                message,
                "too small",
                Some(help),
            );
        }
    }
}
