//! [`Stream`]: takes secrets out of what comes in pieces.

use std::sync::Arc;

use super::{redactor::Redactor, rests::MAX_REST};

/// Takes secrets out of what comes in pieces, wherever these begin and end. It holds back no more than the beginning of
/// a secret, in whatever form: what follows may be the rest of it.
pub(in crate::plugin) struct Stream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
}

impl Stream {
    pub(in crate::plugin) fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            redactor,
            held: Vec::new(),
        }
    }

    pub(in crate::plugin) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Tells whether something is held back.
    pub(in crate::plugin) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the next piece, and gives what can be told of it.
    pub(in crate::plugin) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let redactor = &*self.redactor;
        let mut given = Vec::with_capacity(self.held.len());
        let mut rest = 0;
        let mut open = redactor.beginning(&self.held, rest);
        for found in redactor.finder.find_iter(&self.held) {
            // A longer one may begin before it.
            if found.start() >= open {
                break;
            }
            given.extend_from_slice(&self.held[rest..found.start()]);
            let secret = redactor.forms[found.pattern().as_usize()].secret;
            given.extend_from_slice(redactor.mark(secret).as_bytes());
            rest = found.end();
            if open < rest {
                open = redactor.beginning(&self.held, rest);
            }
        }
        given.extend_from_slice(&self.held[rest..open]);
        self.held.drain(..open);
        given
    }

    /// Gives the rest when nothing more comes: a secret that was cut short is taken out as well.
    pub(in crate::plugin) fn end(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let redacted = self.redactor.bytes(&held);
        if redacted.is_none() && held.len() > MAX_REST {
            let secret = self.redactor.form_beginning_with(&held);
            let mark = secret.map(|secret| self.redactor.mark(secret));
            return mark.map_or(held, |mark| mark.as_bytes().to_vec());
        }
        redacted.unwrap_or(held)
    }
}

impl Redactor {
    /// Where, from `from` on, that begins which may go on as a secret; the end if nothing does.
    fn beginning(&self, bytes: &[u8], from: usize) -> usize {
        if let Some(length) = self.rests.open_at_end(&bytes[from..], &self.forms) {
            return bytes.len() - length;
        }
        let near = from.max(bytes.len().saturating_sub(MAX_REST));
        let mut starts = near..bytes.len();
        let open = starts.find(|start| self.form_beginning_with(&bytes[*start..]).is_some());
        open.unwrap_or(bytes.len())
    }

    /// Whose form begins with these bytes and is longer.
    fn form_beginning_with(&self, bytes: &[u8]) -> Option<usize> {
        // They are sorted: the first that is greater than its own beginning comes right behind it.
        let next = self.forms.partition_point(|form| *form.bytes <= *bytes);
        let form = self.forms.get(next)?;
        form.bytes.starts_with(bytes).then_some(form.secret)
    }
}
