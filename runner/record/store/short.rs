//! [`ShortIds`]: as much of a run's id as tells it from the others of its root.

use std::collections::HashMap;

use crate::record::disk::layout::RunId;

/// How many characters of an id tell runs of the same instant apart.
const SUFFIX: usize = 8;

/// As much of a run's id as tells it from the others of its root, so that it can be typed.
#[derive(Clone, Debug, Default)]
pub struct ShortIds {
    names: Vec<String>,
    /// The ends of the names that are generated, with the place of the one that has it; `None` if several do.
    ends: HashMap<Box<str>, Option<usize>>,
    /// The places of those names that were chosen by hand.
    chosen: Vec<usize>,
}

impl ShortIds {
    /// Tells the runs apart whose directories are called so.
    pub(in crate::record) fn new(names: Vec<String>) -> Self {
        let mut ends = HashMap::with_capacity(names.len());
        let mut chosen = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match RunId::is_generated(name) {
                true => {
                    let several = |only: &mut Option<usize>| *only = None;
                    ends.entry(last(name).into())
                        .and_modify(several)
                        .or_insert(Some(place));
                }
                false => chosen.push(place),
            }
        }
        Self {
            names,
            ends,
            chosen,
        }
    }

    /// The end of an id, longer only where another run has it in its own; all of a name that was chosen by hand.
    pub fn of<'a>(&self, id: &'a RunId) -> &'a str {
        self.of_name(id.as_str())
    }

    pub(in crate::record) fn of_name<'a>(&self, name: &'a str) -> &'a str {
        // A run of a group is as unique as that, and its place says which.
        if let Some(group) = RunId::of_directory(name).group() {
            let end = group.len() - SUFFIX;
            let is_only = self.chosen.iter().map(|place| &self.names[*place]);
            let alike = is_only.filter(|other| other.contains(&name[end..]));
            return if alike.count() <= 1 {
                &name[end..]
            } else {
                name
            };
        }
        if !RunId::is_generated(name) {
            return name;
        }
        let end = last(name);
        // Its digits are together nowhere but at the end of a generated name: before that there are dashes.
        let is_the_only_end = match self.ends.get(end) {
            Some(Some(place)) => self.names[*place] == name,
            Some(None) => false,
            None => true,
        };
        let mut chosen = self.chosen.iter().map(|place| &self.names[*place]);
        if is_the_only_end && !chosen.any(|other| other.contains(end)) {
            return end;
        }
        let ends = (0..name.len() - SUFFIX).rev().map(|start| &name[start..]);
        let mut unique = ends.filter(|end| self.is_unique(end, name));
        unique.next().unwrap_or(name)
    }

    /// As a run is looked for: a part of a name means it if no other name has that part.
    fn is_unique(&self, part: &str, name: &str) -> bool {
        let mut names = self.names.iter();
        names.all(|other| other == name || !other.contains(part))
    }
}

fn last(name: &str) -> &str {
    &name[name.len() - SUFFIX..]
}

#[cfg(test)]
mod tests {
    use super::ShortIds;

    #[test]
    fn an_id_is_as_short_as_it_is_unique() {
        const ONE: &str = "2026-11-20_04-39-12-123-7f3a9c1e";
        const OTHER: &str = "2026-11-20_04-39-12-124-7f3a9c1e";
        let short = |names: &[&str], name: &'static str| {
            ShortIds::new(names.iter().map(|name| (*name).to_owned()).collect()).of_name(name)
        };
        assert_eq!(short(&[ONE], ONE), "7f3a9c1e");
        assert_eq!(short(&[], ONE), "7f3a9c1e");
        assert_eq!(short(&[ONE, "nightly"], "nightly"), "nightly");
        assert_eq!(short(&[ONE, OTHER], ONE), "3-7f3a9c1e");
        assert_eq!(short(&[ONE, OTHER], OTHER), "4-7f3a9c1e");
        assert_eq!(short(&[ONE, "copy-of-7f3a9c1e"], ONE), "3-7f3a9c1e");
        assert_eq!(short(&[OTHER], ONE), "3-7f3a9c1e");
    }
}
