//! The graders of a scenario, and the tests that name them.

use serde_json::{Map, Value};

use super::Validator;
use crate::scenario::{
    Grader,
    check::{At, Part},
    graders,
};

impl Validator<'_> {
    pub(super) fn graders(&mut self, tables: &Map<String, Value>) -> Vec<Grader> {
        let names = self.graders.clone();
        let root = At::ROOT;
        let all = root.key("graders");
        let mut read = Vec::new();
        for name in names {
            let Some(table) = tables.get(name).and_then(Value::as_object) else {
                continue;
            };
            let at = all.key(name);
            // What stands for a plugin in rows, budgets and stored runs is its name.
            if self.names.contains(&name) {
                let message = format!("`{name}` is the name of a provider already");
                self.report(&at, Part::Key, message, "this name", None);
            } else if name.contains('[') {
                let message =
                    format!("`{name}` is not a valid name here: only a matrix makes brackets");
                self.report(&at, Part::Key, message, "this name", None);
            }
            graders::check_templates(table, &at, &mut self.findings);
            let provider = self.provider(name, table, &at);
            read.extend(provider.map(|provider| Grader::read(provider, table)));
        }
        read
    }

    /// Looks at the graders that an `expect` names.
    pub(super) fn expected_graders(&mut self, expect: &Map<String, Value>, at: &At<'_>) {
        let at = at.key("graders");
        for (place, message, help) in graders::refusals(expect, &self.graders) {
            match place {
                Some(index) => self.report(&at.index(index), Part::Value, message, "here", help),
                None => self.report(&at, Part::Key, message, "does nothing", help),
            }
        }
    }
}
