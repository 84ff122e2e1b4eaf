//! [`Denials`]: requests of a guest that no grant allows.

use runner_model::row::Denied;

/// Different denials that are kept of one call.
const MAX_DENIED: usize = 20;

/// Denied requests of one call, each once.
#[derive(Clone, Default)]
pub(crate) struct Denials(pub(crate) Vec<Denied<'static>>);

impl Denials {
    /// Adds a denial, unless it is known or there are [`MAX_DENIED`].
    pub(crate) fn add(&mut self, denied: Denied<'static>) {
        if self.0.len() < MAX_DENIED && !self.0.contains(&denied) {
            self.0.push(denied);
        }
    }
}
