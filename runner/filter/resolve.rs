//! `in(RUN, …)`: which trials of another run are meant is looked up once, before the filter is asked.

use std::ops::Range;

use super::{
    expression::{Condition, Expression, Filter},
    members::Members,
};

/// An `in(RUN, …)` that is to be looked up.
pub struct InRun<'a> {
    /// The run, as it is named.
    pub run: &'a str,
    /// Where it is named, in bytes of the filter's text.
    pub at: Range<usize>,
    /// What holds for its trials that are meant.
    pub of: &'a Expression,
}

impl Filter {
    /// Looks up what is in other runs. `look` says for each `in(RUN, …)` how the run is named for ever, and which of its
    /// trials are meant; the inner ones come first.
    ///
    /// # Errors
    ///
    /// Fails as `look` does.
    pub(crate) fn resolve<E>(
        mut self,
        mut look: impl FnMut(&InRun<'_>) -> Result<(String, Members), E>,
    ) -> Result<Self, E> {
        let mut names = Vec::new();
        self.root.resolve(&mut look, &mut names)?;
        names.sort_by_key(|(at, _): &(Range<usize>, String)| at.start);
        let mut text = self.text.to_string();
        for (at, name) in names.into_iter().rev() {
            text.replace_range(at, &quoted_run(&name));
        }
        self.text = text.into();
        Ok(self)
    }
}

impl Expression {
    fn resolve<E>(
        &mut self,
        look: &mut impl FnMut(&InRun<'_>) -> Result<(String, Members), E>,
        names: &mut Vec<(Range<usize>, String)>,
    ) -> Result<(), E> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.resolve(look, names)?;
                }
            }
            Self::Not(part) => part.resolve(look, names)?,
            Self::Ask(Condition::In { run, of, members }, _) => {
                of.resolve(look, names)?;
                let (name, found) = look(&InRun {
                    run: &run.0,
                    at: run.1.clone(),
                    of,
                })?;
                *members = Some(found);
                names.push((run.1.clone(), name));
            }
            Self::Ask(..) => {}
        }
        Ok(())
    }
}

/// A run's name as an argument: in quotes where it has a character that means something.
pub fn quoted_run(name: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "-_./".contains(character);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}
