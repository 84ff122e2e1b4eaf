//! [`Secrets`]: values that a guest may have and that nothing may write down.

use std::{collections::BTreeMap, fmt};

use super::redact::Redactor;

/// The longest name that is looked for.
const MAX_NAME_BYTES: usize = 128;

/// Secrets by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    redactor: Option<Redactor>,
}

impl Secrets {
    /// A shorter value is not redacted, in bytes: it is part of too much that is no secret.
    pub const MIN_REDACTED: usize = 4;
    /// The longest value, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Takes the values of the secrets that a provider is granted; none is longer than [`Self::MAX_BYTES`].
    pub fn new(values: BTreeMap<String, String>) -> Self {
        let redactor = Redactor::new(&values);
        Self { values, redactor }
    }

    /// The value of a secret.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Takes the values out of what a guest has said; `None` where there is nothing to look for.
    pub(super) fn redactor(&self) -> Option<&Redactor> {
        self.redactor.as_ref()
    }

    /// Puts the value of a secret where a text has `{{secret.NAME}}`; the error is the name of one that is not there.
    ///
    /// Each place is filled once: what looks like a name inside of a value is part of the value.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            filled.push_str(before);
            match behind.split_once("}}") {
                Some((place, behind)) if let Some(name) = secret_name(place) => {
                    filled.push_str(self.get(name).ok_or(name)?);
                    rest = behind;
                }
                Some(_) | None => {
                    filled.push_str("{{");
                    rest = behind;
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Tells names, and never a value.
impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

/// The name in `secret.NAME`.
fn secret_name(place: &str) -> Option<&str> {
    let name = place.trim().strip_prefix("secret.")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::Secrets;
    use crate::plugin::Access;

    #[test]
    fn a_text_is_filled_once_with_the_secrets_that_it_names() {
        let values = [("A", "1"), ("B_2", "{{secret.A}}")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = Secrets::new(values.into());
        let fill = |text: &str| secrets.fill(text);
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
            assert_eq!(fill(text).as_deref(), Ok(filled), "{text}");
        }
        assert_eq!(fill("{{secret.A}} {{secret.C}}"), Err("C".to_owned()));
    }

    #[test]
    fn a_debug_text_has_names_and_no_values() {
        let values = BTreeMap::from([("KEY".to_owned(), "hunter2".to_owned())]);
        let access = Access {
            secrets: Arc::new(Secrets::new(values)),
            ..Access::default()
        };
        let text = format!("{access:?}");
        assert!(
            text.contains("\"KEY\"") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
