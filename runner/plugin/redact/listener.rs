//! Takes secrets out of what is heard while a guest runs.

use std::sync::Arc;

use super::redactor::Redactor;
use crate::plugin::listener::{Heard, Listener};

impl Redactor {
    /// Redacts what is heard while a guest runs.
    pub(in crate::plugin) fn listener(self: Arc<Self>, listener: Listener) -> Listener {
        Listener::new(move |heard| match heard {
            Heard::Log(record) => {
                let mut record = record.clone();
                self.record(&mut record);
                listener.hear(Heard::Log(&record));
            }
            Heard::Stdout(line) => listener.hear(Heard::Stdout(&self.line(line))),
            Heard::Stderr(line) => listener.hear(Heard::Stderr(&self.line(line))),
            Heard::Progress { fraction, message } => listener.hear(Heard::Progress {
                fraction,
                message: &self.line(message),
            }),
        })
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        self.cut_text(&mut line);
        line
    }
}
