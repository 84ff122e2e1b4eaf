//! Converts between units: a provider with typed input and configuration.
//!
//! For the input `{ from = "km", to = "mi", value = 42 }`, the output is `{ "value": 26.09… }`. With `decimals = 2` in the
//! configuration, it is rounded.

mod unit;

use runner_sdk::{Error, Provider, Reply, Result, Test};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unit::Unit;

struct Units;

/// Value to convert.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Unit of `value`.
    from: String,
    /// Unit of the result.
    to: String,
    /// Number to convert.
    value: f64,
}

/// Form of the result.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Rounds to this many decimals.
    #[schemars(range(max = 15))]
    decimals: Option<u8>,
}

#[derive(Serialize)]
struct Output {
    value: f64,
}

impl Provider for Units {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let Input { from, to, value } = test.input;
        let converted = Unit::parse(&from)?.convert(value, Unit::parse(&to)?)?;
        let value = match test.config.decimals {
            None => converted,
            Some(decimals @ 0..=15) => round(converted, decimals),
            Some(decimals) => {
                let message = format!("`decimals` is {decimals}, the most is 15");
                return Err(Error::invalid_config(message));
            }
        };
        Reply::new(Output { value })
    }
}

runner_sdk::export!(Units);

fn round(value: f64, decimals: u8) -> f64 {
    let scale = 10_f64.powi(decimals.into());
    let rounded = (value * scale).round() / scale;
    // A value whose scaling overflows is too large to have decimals.
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use runner_sdk::testing::Host;
    use runner_sdk::{ErrorKind, Result};
    use serde_json::{Value, json};

    use super::Units;

    fn convert(input: Value, config: Value) -> Result<f64> {
        let reply = Host::new().run::<Units>(input, config)?;
        Ok(reply.output()?["value"].as_f64().unwrap())
    }

    #[test]
    fn values_are_converted() {
        let cases = [
            ("km", "mi", 42.0, 26.097_590_073_968_025),
            ("mi", "km", 1.0, 1.609_344),
            ("C", "F", 100.0, 212.0),
            ("F", "C", -40.0, -40.0),
            ("C", "K", 0.0, 273.15),
            ("lb", "kg", 1.0, 0.453_592_37),
            ("m", "m", 3.0, 3.0),
        ];
        for (from, to, value, expected) in cases {
            let converted =
                convert(json!({"from": from, "to": to, "value": value}), json!({})).unwrap();
            assert!((converted - expected).abs() < 1e-9, "{converted} {to}");
        }
    }

    #[test]
    fn results_are_rounded_as_configured() {
        let input = json!({"from": "km", "to": "mi", "value": 42});
        assert_eq!(convert(input.clone(), json!({"decimals": 2})), Ok(26.1));
        let error = convert(input, json!({"decimals": 16})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidConfig);
    }

    #[test]
    fn impossible_conversions_are_invalid_input() {
        let cases = [
            (json!({"from": "parsec", "to": "km", "value": 1}), "unknown-unit"),
            (json!({"from": "km", "to": "kg", "value": 1}), "other-quantity"),
            (json!({"from": "km", "to": "mi"}), ""),
            (json!("42 km"), ""),
        ];
        for (input, code) in cases {
            let error = convert(input.clone(), json!({})).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidInput, "{input}");
            assert_eq!(error.code, code, "{input}");
        }
    }
}
