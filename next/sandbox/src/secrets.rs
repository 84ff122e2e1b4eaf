//! [`Secrets`]: values that a guest may have and that nothing may write down.

use std::{collections::BTreeMap, fmt, sync::Arc};

use runner_model::grants::BoundSecret;
use url::Url;

use crate::redact::Redactor;

/// The longest name that is looked for.
const MAX_NAME_BYTES: usize = 128;
/// How far behind `{{` its `}}` is looked for: a name, `secret.` and some blanks.
const MAX_PLACE_BYTES: usize = MAX_NAME_BYTES + 32;

/// Secrets by name, of one provider.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// Those that the guest never knows, each with the places where the host puts it; without any it is for each header of
    /// each request that is granted.
    unseen: BTreeMap<String, Vec<BoundSecret>>,
    redactor: Option<Arc<Redactor>>,
    /// Takes those out that the guest never knows.
    unseen_redactor: Option<Arc<Redactor>>,
}

/// A header of a request, which secrets are to be put into.
#[derive(Clone, Copy)]
pub(crate) struct HeaderPlace<'a> {
    pub(crate) url: &'a Url,
    pub(crate) header: &'a str,
}

/// Why a text cannot be filled with secrets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FillError {
    /// It names one that is not there.
    Missing(String),
    /// It names one that is for other places.
    Elsewhere(String),
    /// It would have more bytes than it may have.
    TooLong,
}

impl Secrets {
    /// The longest value, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Takes the values of the secrets that a provider is granted, none longer than [`Self::MAX_BYTES`]. The guest never
    /// knows those in `unseen`: each is put into headers of requests to its places, or without any into each header of each
    /// request that is granted.
    pub fn new(
        values: BTreeMap<String, String>,
        unseen: BTreeMap<String, Vec<BoundSecret>>,
    ) -> Self {
        let redactor = Redactor::new(&values).map(Arc::new);
        let hidden = values.iter().filter(|(name, _)| unseen.contains_key(*name));
        let hidden = hidden.map(|(name, value)| (name.clone(), value.clone()));
        let hidden: BTreeMap<_, _> = hidden.collect();
        let unseen_redactor = match hidden.len() == values.len() {
            // An automaton may take megabytes.
            true => redactor.clone(),
            false => Redactor::new(&hidden).map(Arc::new),
        };
        Self { values, unseen, redactor, unseen_redactor }
    }

    /// The value of a secret that the guest may know.
    pub fn get(&self, name: &str) -> Option<&str> {
        let is_unseen = self.unseen.contains_key(name);
        let value = self.values.get(name).filter(|_| !is_unseen);
        value.map(String::as_str)
    }

    /// Takes all values out of what a guest leaves; `None` where there is nothing to look for.
    pub fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.redactor.as_ref()
    }

    /// Takes those values out of what comes from elsewhere that the guest never knows; `None` where there are none.
    pub(crate) fn unseen(&self) -> Option<&Arc<Redactor>> {
        self.unseen_redactor.as_ref()
    }

    /// The places that a secret is for; none of one that is for every place.
    pub(crate) fn places(&self, name: &str) -> &[BoundSecret] {
        self.unseen.get(name).map_or(&[], Vec::as_slice)
    }

    /// Puts the value of a secret where a text has `{{secret.NAME}}`, as long as that has at most `max` bytes.
    ///
    /// Each place is filled once: what looks like a name inside of a value is part of the value.
    pub(crate) fn fill(
        &self,
        text: &str,
        max: usize,
        place: HeaderPlace<'_>,
    ) -> Result<String, FillError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            filled.push_str(before);
            rest = match named(behind) {
                Some((name, behind)) => {
                    filled.push_str(self.value_for(name, place)?);
                    behind
                }
                None => {
                    filled.push_str("{{");
                    behind
                }
            };
            if filled.len() > max {
                return Err(FillError::TooLong);
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The value of a secret for this place.
    fn value_for(&self, name: &str, place: HeaderPlace<'_>) -> Result<&str, FillError> {
        let value = self.values.get(name);
        let value = value.ok_or_else(|| FillError::Missing(name.to_owned()))?;
        let places = self.places(name);
        let mut admitted = places.iter();
        if places.is_empty() || admitted.any(|bound| bound.admits(place.url, place.header)) {
            Ok(value)
        } else {
            Err(FillError::Elsewhere(name.to_owned()))
        }
    }
}

/// Shows names, and never a value.
impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

/// The name in the place that a text begins in, and what is behind the place.
fn named(text: &str) -> Option<(&str, &str)> {
    // A guest may write any number of `{{`, so none of them is worth a look at everything behind it.
    let near = &text[..text.floor_char_boundary(MAX_PLACE_BYTES)];
    let (place, _) = near.split_once("}}")?;
    let name = place.trim().strip_prefix("secret.")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain);
    is_name.then(|| (name, &text[place.len() + "}}".len()..]))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use runner_model::grants::BoundSecret;
    use url::Url;

    use super::{FillError, HeaderPlace, Secrets};
    use crate::Access;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let values = values.iter();
        let values = values.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Secrets::new(values.collect(), BTreeMap::new())
    }

    fn fill(secrets: &Secrets, text: &str, max: usize) -> Result<String, FillError> {
        let url = Url::parse("https://a.example").unwrap();
        let place = HeaderPlace { url: &url, header: "x" };
        secrets.fill(text, max, place)
    }

    #[test]
    fn a_text_is_filled_once_with_the_secrets_that_it_names() {
        let secrets = secrets(&[("A", "1"), ("B_2", "{{secret.A}}")]);
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("Bearer {{secret.A}}", "Bearer 1"),
            ("{{ secret.A }}{{secret.A}}", "11"),
            ("{{secret.B_2}}", "{{secret.A}}"),
            ("{{{{secret.A}}}}", "{{1}}"),
            ("{{secret.A", "{{secret.A"),
            ("{{input.a}}, {{secret.a b}}", "{{input.a}}, {{secret.a b}}"),
        ] {
            assert_eq!(fill(&secrets, text, 100).as_deref(), Ok(filled), "{text}");
        }
        let missing = FillError::Missing("C".to_owned());
        assert_eq!(fill(&secrets, "{{secret.A}} {{secret.C}}", 100), Err(missing));
    }

    #[test]
    fn a_text_is_filled_no_further_than_it_may_be() {
        let secrets = secrets(&[("A", &"x".repeat(1_000))]);
        let text = "{{secret.A}}".repeat(1_000_000);
        assert_eq!(fill(&secrets, &text, 10_000), Err(FillError::TooLong));
    }

    #[test]
    fn places_that_never_end_are_left_behind_at_once() {
        // Looking for each one's end in all the rest would take hours.
        let text = "{{".repeat(1_000_000);
        let filled = fill(&Secrets::default(), &text, text.len());
        assert!(filled.is_ok_and(|filled| filled == text));
    }

    #[test]
    fn an_unseen_secret_is_never_handed_out() {
        let values = [("SEEN", "first value"), ("HIDDEN", "second value")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let bound = BoundSecret::parse("HIDDEN", "a.example", "x-key").unwrap();
        let unseen = BTreeMap::from([("HIDDEN".to_owned(), vec![bound])]);
        let secrets = Secrets::new(values.into(), unseen);
        assert_eq!(secrets.get("SEEN"), Some("first value"));
        assert_eq!(secrets.get("HIDDEN"), None);
        let unseen = secrets.unseen().unwrap();
        assert!(unseen.is_in(b"second value") && !unseen.is_in(b"first value"));
        assert!(secrets.redactor().unwrap().is_in(b"first value"));
        let elsewhere = FillError::Elsewhere("HIDDEN".to_owned());
        assert_eq!(fill(&secrets, "{{secret.HIDDEN}}", 100), Err(elsewhere));
    }

    #[test]
    fn a_debug_text_has_names_and_no_values() {
        let access =
            Access { secrets: Arc::new(secrets(&[("KEY", "hunter2")])), ..Access::default() };
        let text = format!("{access:?}");
        assert!(text.contains("\"KEY\"") && !text.contains("hunter2"), "{text}");
    }
}
