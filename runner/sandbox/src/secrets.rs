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
    /// Secrets that the guest may use. Values that are only redacted are in no table.
    granted: BTreeMap<String, GrantedSecret>,
    redactor: Option<Arc<Redactor>>,
    /// Redacts the secrets that the guest never sees.
    unseen_redactor: Option<Arc<Redactor>>,
}

/// A value with its use.
#[derive(Clone)]
struct GrantedSecret {
    value: String,
    allowed: SecretUse,
}

/// The use of a secret that is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretUse {
    /// The guest knows the value, and the host fills it into every header of every granted request.
    Known,
    /// The guest never sees the value. The host fills it into every header of every granted request.
    AnyHeader,
    /// The guest never sees the value. The host fills it into headers at these places.
    Bound(Vec<BoundSecret>),
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
    /// The secret is bound to these other places.
    WrongPlace(String, Vec<BoundSecret>),
    /// The result would exceed its bound.
    TooLong,
}

impl Secrets {
    /// Longest value, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Creates the secrets of a provider from values of at most [`Self::MAX_BYTES`] each. A secret
    /// without a use is only redacted, and sent nowhere.
    pub fn new(values: &BTreeMap<String, String>, mut uses: BTreeMap<String, SecretUse>) -> Self {
        let redactor = Redactor::new(values).map(Arc::new);
        let mut unseen = values.clone();
        unseen.retain(|name, _| uses.get(name) != Some(&SecretUse::Known));
        // Redactors of many secrets are large, so one serves both purposes if all secrets are unseen.
        let unseen_redactor = if unseen.len() == values.len() {
            redactor.clone()
        } else {
            Redactor::new(&unseen).map(Arc::new)
        };
        let granted = values.iter().filter_map(|(name, value)| {
            let allowed = uses.remove(name)?;
            Some((name.clone(), GrantedSecret { value: value.clone(), allowed }))
        });
        Self { granted: granted.collect(), redactor, unseen_redactor }
    }

    /// Returns a secret that the guest may see.
    pub fn get(&self, name: &str) -> Option<&str> {
        let secret = self.granted.get(name)?;
        (secret.allowed == SecretUse::Known).then_some(&*secret.value)
    }

    /// Redacts all values. `None` if there is nothing to find.
    pub fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.redactor.as_ref()
    }

    /// Redacts the secrets that the guest never sees from responses. `None` without such secrets.
    pub(crate) fn unseen_redactor(&self) -> Option<&Arc<Redactor>> {
        self.unseen_redactor.as_ref()
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
        let missing = || FillError::Missing(name.to_owned());
        let GrantedSecret { value, allowed } = self.granted.get(name).ok_or_else(missing)?;
        match allowed {
            SecretUse::Known | SecretUse::AnyHeader => Ok(value),
            SecretUse::Bound(places) => {
                if places.iter().any(|bound| bound.admits(place.url, place.header)) {
                    return Ok(value);
                }
                Err(FillError::WrongPlace(name.to_owned(), places.clone()))
            }
        }
    }
}

/// Prints names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.granted.keys()).finish()
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
    use std::sync::Arc;

    use runner_model::grants::BoundSecret;
    use url::Url;

    use super::{FillError, HeaderPlace, SecretUse, Secrets};
    use crate::Access;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let uses = values.iter().map(|(name, _)| ((*name).to_owned(), SecretUse::Known));
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Secrets::new(&values.collect(), uses.collect())
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
    fn secret_is_sent_only_by_its_use() {
        let bound = BoundSecret::parse("BOUND", "a.example", "x-key").unwrap();
        let uses = [
            ("KNOWN", SecretUse::Known),
            ("ANY", SecretUse::AnyHeader),
            ("BOUND", SecretUse::Bound(vec![bound.clone()])),
            ("NOWHERE", SecretUse::Bound(Vec::new())),
        ];
        let names = ["KNOWN", "ANY", "BOUND", "NOWHERE", "HIDDEN"];
        let values = names.map(|name| (name.to_owned(), format!("value of {name}")));
        let uses = uses.map(|(name, allowed)| (name.to_owned(), allowed));
        let secrets = Secrets::new(&values.into(), uses.into());
        let wrong = |name: &str, places| Err(FillError::WrongPlace(name.to_owned(), places));
        for (name, sent) in [
            ("KNOWN", Ok("value of KNOWN".to_owned())),
            ("ANY", Ok("value of ANY".to_owned())),
            ("BOUND", wrong("BOUND", vec![bound])),
            ("NOWHERE", wrong("NOWHERE", Vec::new())),
            ("HIDDEN", Err(FillError::Missing("HIDDEN".to_owned()))),
        ] {
            assert_eq!(fill(&secrets, &format!("{{{{secret.{name}}}}}"), 100), sent);
            assert_eq!(secrets.get(name).is_some(), name == "KNOWN", "{name}");
            let value = format!("value of {name}");
            assert!(secrets.redactor().unwrap().is_in(value.as_bytes()), "{name}");
            let unseen = secrets.unseen_redactor().unwrap();
            assert_eq!(unseen.is_in(value.as_bytes()), name != "KNOWN", "{name}");
        }
    }

    #[test]
    fn debug_text_contains_no_secret() {
        let access =
            Access { secrets: Arc::new(secrets(&[("KEY", "hunter2")])), ..Access::default() };
        let text = format!("{access:?}");
        assert!(text.contains("\"KEY\"") && !text.contains("hunter2"), "{text}");
    }
}
