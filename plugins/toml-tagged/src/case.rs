//! [`Case`], the input of decoders that are components, and their output.

use runner_sdk::{Reply, Result, files};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// A document to decode.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// Text of the document.
    Toml(String),
    /// Name of the attachment with the document, for bytes that are not UTF-8, which JSON cannot contain.
    File(String),
}

/// Decodes a case. The output is `{"valid": true, "value": …}` or `{"valid": false, "error": "…"}`.
///
/// A refused document is an output and not an error of the provider, because a decoder must refuse invalid documents.
pub fn answer<E: ToString>(
    case: Case,
    decode: impl FnOnce(&str) -> Result<Value, E>,
) -> Result<Reply> {
    let bytes = match case {
        Case::Toml(text) => text.into_bytes(),
        Case::File(name) => files::read(&name)?,
    };
    let decoded = match std::str::from_utf8(&bytes) {
        Ok(text) => decode(text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Reply::new(match decoded {
        Ok(value) => json!({ "valid": true, "value": value }),
        Err(error) => json!({ "valid": false, "error": error }),
    })
}

#[cfg(test)]
mod tests {
    use runner_sdk::testing::Host;
    use runner_sdk::{NoConfig, Provider, Reply, Result, Test};
    use serde_json::json;

    use super::{Case, answer};

    /// A decoder that refuses only the empty document.
    struct Lenient;

    impl Provider for Lenient {
        type Input = Case;
        type Config = NoConfig;

        fn run(test: Test<Self>) -> Result<Reply> {
            answer(test.input, |text| match text {
                "" => Err("empty"),
                text => Ok(crate::string(text)),
            })
        }
    }

    #[test]
    fn refused_document_is_an_output() {
        let output = |host: Host, input| {
            let reply = host.run::<Lenient>(input, json!({})).unwrap();
            reply.output().unwrap()
        };
        assert_eq!(
            output(Host::new(), json!({"toml": "a"})),
            json!({"valid": true, "value": {"type": "string", "value": "a"}})
        );
        assert_eq!(
            output(Host::new(), json!({"toml": ""})),
            json!({"valid": false, "error": "empty"})
        );
        let bytes = Host::new().file("case.toml", b"\xff");
        assert_eq!(output(bytes, json!({"file": "case.toml"}))["valid"], json!(false));
        let missing = Host::new().run::<Lenient>(json!({"file": "case.toml"}), json!({}));
        assert!(missing.is_err());
    }
}
