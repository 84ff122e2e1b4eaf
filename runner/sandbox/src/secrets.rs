//! [`Secrets`]: values that a guest may use and that no output may contain.

use std::{collections::BTreeMap, fmt, sync::Arc};

use runner_model::grants::BoundSecret;
use url::Url;

use crate::redact::Redactor;

/// Bytes of a secret's name in a placeholder.
const MAX_NAME_BYTES: usize = 128;
/// Bytes after `{{` in which `}}` must follow: a name, `secret.` and some blanks.
const MAX_PLACE_BYTES: usize = MAX_NAME_BYTES + 32;

/// Secrets of one provider, by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// Secrets that the guest never sees, with the places where the host fills them in. No places
    /// means every header of every granted request.
    unseen: BTreeMap<String, Vec<BoundSecret>>,
    redactor: Option<Arc<Redactor>>,
    /// Redacts the secrets that the guest never sees.
    unseen_redactor: Option<Arc<Redactor>>,
}

/// A header of a request, into which secrets are filled.
#[derive(Clone, Copy)]
pub(crate) struct HeaderPlace<'a> {
    pub(crate) url: &'a Url,
    pub(crate) header: &'a str,
}

/// Reason why a text cannot be filled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FillError {
    /// The secret does not exist.
    Missing(String),
    /// The secret is bound to other places.
    WrongPlace(String),
    /// The result would exceed its bound.
    TooLong,
}

impl Secrets {
    /// Longest value, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Creates the secrets of a provider from its granted values, each at most [`Self::MAX_BYTES`]
    /// long. The guest never sees those in `unseen`. Each is filled into headers at its places, or
    /// into every header of every granted request if it has none.
    pub fn new(
        values: BTreeMap<String, String>,
        unseen: BTreeMap<String, Vec<BoundSecret>>,
    ) -> Self {
        let redactor = Redactor::new(&values).map(Arc::new);
        let mut hidden = values.clone();
        hidden.retain(|name, _| unseen.contains_key(name));
        // Redactors of many secrets are large, so one serves both purposes if all secrets are unseen.
        let unseen_redactor = if hidden.len() == values.len() {
            redactor.clone()
        } else {
            Redactor::new(&hidden).map(Arc::new)
        };
        Self { values, unseen, redactor, unseen_redactor }
    }

    /// Returns a secret that the guest may see.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).filter(|_| !self.unseen.contains_key(name)).map(String::as_str)
    }

    /// Redacts all values. `None` if there is nothing to find.
    pub fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.redactor.as_ref()
    }

    /// Redacts the secrets that the guest never sees from responses. `None` without such secrets.
    pub(crate) fn unseen_redactor(&self) -> Option<&Arc<Redactor>> {
        self.unseen_redactor.as_ref()
    }

    /// Returns the places of a secret. Empty if it may be sent anywhere.
    pub(crate) fn places(&self, name: &str) -> &[BoundSecret] {
        self.unseen.get(name).map_or(&[], Vec::as_slice)
    }

    /// Fills the values of secrets into the placeholders `{{secret.NAME}}` of a text. The result
    /// has at most `max` bytes.
    ///
    /// Each placeholder is filled once: a value that contains a placeholder stays as it is.
    pub(crate) fn fill(
        &self,
        text: &str,
        max: usize,
        place: HeaderPlace<'_>,
    ) -> Result<String, FillError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            rest = after;
            if let Some((name, after)) = split_placeholder(after) {
                filled.push_str(self.value_for(name, place)?);
                rest = after;
            } else {
                filled.push_str("{{");
            }
            if filled.len() > max {
                return Err(FillError::TooLong);
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// Returns the value of a secret that may be sent at `place`.
    fn value_for(&self, name: &str, place: HeaderPlace<'_>) -> Result<&str, FillError> {
        let value = self.values.get(name).ok_or_else(|| FillError::Missing(name.to_owned()))?;
        let places = self.places(name);
        if places.is_empty() || places.iter().any(|bound| bound.admits(place.url, place.header)) {
            Ok(value)
        } else {
            Err(FillError::WrongPlace(name.to_owned()))
        }
    }
}

/// Prints names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

/// Splits off the placeholder at the start of `text`: returns its name and the rest.
fn split_placeholder(text: &str) -> Option<(&str, &str)> {
    // A guest may write millions of `{{`. Searching all of the rest for each would take hours.
    let near = &text[..text.floor_char_boundary(MAX_PLACE_BYTES)];
    let (place, _) = near.split_once("}}")?;
    let name = place.trim().strip_prefix("secret.")?;
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
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
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Secrets::new(values.collect(), BTreeMap::new())
    }

    fn fill(secrets: &Secrets, text: &str, max: usize) -> Result<String, FillError> {
        let url = Url::parse("https://a.example").unwrap();
        let place = HeaderPlace { url: &url, header: "x" };
        secrets.fill(text, max, place)
    }

    #[test]
    fn placeholders_are_filled_once() {
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
    fn filled_text_is_bounded() {
        let secrets = secrets(&[("A", &"x".repeat(1_000))]);
        let text = "{{secret.A}}".repeat(1_000_000);
        assert_eq!(fill(&secrets, &text, 10_000), Err(FillError::TooLong));
    }

    #[test]
    fn unclosed_placeholders_are_cheap() {
        // A search of all the rest for each of them would take hours.
        let text = "{{".repeat(1_000_000);
        let filled = fill(&Secrets::default(), &text, text.len());
        assert!(filled.is_ok_and(|filled| filled == text));
    }

    #[test]
    fn unseen_secret_is_never_returned() {
        let values = [("SEEN", "first value"), ("HIDDEN", "second value")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let bound = BoundSecret::parse("HIDDEN", "a.example", "x-key").unwrap();
        let unseen = BTreeMap::from([("HIDDEN".to_owned(), vec![bound])]);
        let secrets = Secrets::new(values.into(), unseen);
        assert_eq!(secrets.get("SEEN"), Some("first value"));
        assert_eq!(secrets.get("HIDDEN"), None);
        let unseen = secrets.unseen_redactor().unwrap();
        assert!(unseen.is_in(b"second value") && !unseen.is_in(b"first value"));
        assert!(secrets.redactor().unwrap().is_in(b"first value"));
        let elsewhere = FillError::WrongPlace("HIDDEN".to_owned());
        assert_eq!(fill(&secrets, "{{secret.HIDDEN}}", 100), Err(elsewhere));
    }

    #[test]
    fn debug_text_contains_no_secret() {
        let access =
            Access { secrets: Arc::new(secrets(&[("KEY", "hunter2")])), ..Access::default() };
        let text = format!("{access:?}");
        assert!(text.contains("\"KEY\"") && !text.contains("hunter2"), "{text}");
    }
}
