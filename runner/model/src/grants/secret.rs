//! [`BoundSecret`]: a secret for one header of requests to one destination; and names of secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::NetGrant;

/// A secret that the host adds to one header of requests to one destination. The guest never sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct BoundSecret {
    /// The secret's name.
    pub name: String,
    /// The destination of the requests.
    pub host: NetGrant,
    /// The header, in lower case.
    pub header: String,
}

impl BoundSecret {
    /// Parses the parts of a bound secret.
    ///
    /// # Errors
    ///
    /// The reason. Completes the sentence "it is not understood: …".
    pub fn parse(name: &str, host: &str, header: &str) -> Result<Self, String> {
        if !is_secret_name(name) {
            return Err("secrets are named with letters, digits and `_`".to_owned());
        }
        let host = Self::parse_host(host).map_err(|reason| format!("`{host}`: {reason}"))?;
        if !Self::is_header(header) {
            return Err(format!("`{header}` is not the name of a header"));
        }
        // Names of headers are case-insensitive, and requests have them in lower case.
        Ok(Self { name: name.to_owned(), host, header: header.to_ascii_lowercase() })
    }

    /// Parses a destination as in `net`, or a host name alone, which means `https`.
    ///
    /// # Errors
    ///
    /// The errors of [`NetGrant::parse`].
    pub fn parse_host(text: &str) -> Result<NetGrant, &'static str> {
        if text.contains("://") {
            NetGrant::parse(text)
        } else {
            NetGrant::parse(&format!("https://{text}"))
        }
    }

    /// Returns whether a text is the name of a header, a token of RFC 9110.
    pub fn is_header(text: &str) -> bool {
        let is_of_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(is_of_token)
    }

    /// Returns whether the secret may be in this header of a request to `url`.
    pub fn admits(&self, url: &Url, header: &str) -> bool {
        self.header == header && self.host.matches(url)
    }

    /// Parses the value of `plugin run --grant secret=…`. `None` for a name alone.
    pub fn of_flag(text: &str) -> Option<Result<Self, String>> {
        let (name, rest) = text.split_once(',')?;
        let parts = rest.strip_prefix("host=").and_then(|rest| rest.split_once(",header="));
        Some(match parts {
            Some((host, header)) => Self::parse(name, host, header),
            None => Err("it is bound by `,host=api.example.com,header=authorization`".to_owned()),
        })
    }

    /// Returns the element of `secrets`. Names, destinations and headers have no characters that TOML escapes.
    pub fn element(&self) -> String {
        let Self { name, host, header } = self;
        format!("{{ name = \"{name}\", host = \"{host}\", header = \"{header}\" }}")
    }
}

/// Returns whether `text` can name a secret, like a variable of a shell: letters, digits and `_`, no digit first.
pub fn is_secret_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(is_letter)
        && text.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{BoundSecret, is_secret_name};

    #[test]
    fn a_secret_is_bound_to_an_origin_and_a_header() {
        let bound = BoundSecret::parse("KEY", "api.example.com", "Authorization").unwrap();
        let url = |text| Url::parse(text).unwrap();
        assert!(bound.admits(&url("https://api.example.com/a"), "authorization"));
        for elsewhere in [
            "http://api.example.com",
            "https://api.example.com:8443",
            "https://example.com",
            "https://a.api.example.com",
        ] {
            assert!(!bound.admits(&url(elsewhere), "authorization"), "{elsewhere}");
        }
        assert!(!bound.admits(&url("https://api.example.com/a"), "x-key"));
        let flag = "KEY,host=https://api.example.com,header=authorization";
        assert_eq!(BoundSecret::of_flag(flag), Some(Ok(bound.clone())));
        assert_eq!(
            bound.element(),
            r#"{ name = "KEY", host = "https://api.example.com", header = "authorization" }"#
        );
    }

    #[test]
    fn invalid_bindings_are_refused() {
        for (name, host, header) in [
            ("A-B", "a.example", "x"),
            ("A", "https://a.example/path", "x"),
            ("A", "", "x"),
            ("A", "a.example", ""),
            ("A", "a.example", "x y"),
        ] {
            assert!(BoundSecret::parse(name, host, header).is_err());
        }
        assert!(BoundSecret::of_flag("A").is_none());
        assert!(BoundSecret::of_flag("A,b").unwrap().is_err());
    }

    #[test]
    fn a_secret_is_named_like_a_variable_of_a_shell() {
        for good in ["API_KEY", "_", "a1"] {
            assert!(is_secret_name(good), "{good}");
        }
        for bad in ["", "1A", "A-B", "Ä", "A B", "A="] {
            assert!(!is_secret_name(bad), "{bad:?}");
        }
    }
}
