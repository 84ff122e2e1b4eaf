//! [`DistinctNames`]: names that stay different when what made them different is taken out of them.

use std::collections::HashMap;

/// Names that are all different.
#[derive(Default)]
pub(super) struct DistinctNames {
    /// Those that are there, and the last number that was put behind each: where a million names become one, none of them
    /// is counted from the start.
    taken: HashMap<String, u32>,
}

impl DistinctNames {
    /// Puts a number behind a name that is there already.
    pub(super) fn distinct(&mut self, name: String) -> String {
        let Some(&last) = self.taken.get(&name) else {
            self.taken.insert(name.clone(), 1);
            return name;
        };
        let mut numbered = (last + 1..).map(|number| (number, format!("{name}-{number}")));
        let (number, free) = numbered
            .find(|(_, numbered)| !self.taken.contains_key(numbered))
            .expect("there are more numbers than names");
        self.taken.insert(name, number);
        self.taken.insert(free.clone(), 1);
        free
    }
}

impl<'a> FromIterator<&'a String> for DistinctNames {
    fn from_iter<T: IntoIterator<Item = &'a String>>(names: T) -> Self {
        Self {
            taken: names.into_iter().map(|name| (name.clone(), 1)).collect(),
        }
    }
}
