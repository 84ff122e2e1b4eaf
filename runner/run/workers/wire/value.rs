//! JSON values in messages: as they are in memory, so that neither side makes text of them.

use serde_json::{Map, Number, Value};

use super::bytes::{Decoder, Encoder, Garbled, Read};

/// How deep values are nested at most; what a guest has replied was read with a lower bound.
const MAX_DEPTH: u32 = 256;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const UNSIGNED: u8 = 3;
const SIGNED: u8 = 4;
const FLOAT: u8 = 5;
const STRING: u8 = 6;
const ARRAY: u8 = 7;
const OBJECT: u8 = 8;

/// Writes a value.
pub(super) fn encode(encoder: &mut Encoder, value: &Value) {
    match value {
        Value::Null => encoder.u8(NULL),
        Value::Bool(false) => encoder.u8(FALSE),
        Value::Bool(true) => encoder.u8(TRUE),
        Value::Number(number) => encode_number(encoder, number),
        Value::String(text) => {
            encoder.u8(STRING);
            encoder.str(text);
        }
        Value::Array(values) => {
            encoder.u8(ARRAY);
            encoder.list(values, encode);
        }
        Value::Object(map) => {
            encoder.u8(OBJECT);
            encoder.usize(map.len());
            for (key, value) in map {
                encoder.str(key);
                encode(encoder, value);
            }
        }
    }
}

/// Reads a value.
pub(super) fn decode(decoder: &mut Decoder<'_>) -> Read<Value> {
    decode_below(decoder, MAX_DEPTH)
}

fn decode_below(decoder: &mut Decoder<'_>, depth: u32) -> Read<Value> {
    let below = depth.checked_sub(1).ok_or(Garbled)?;
    Ok(match decoder.u8()? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        UNSIGNED => decoder.u64()?.into(),
        SIGNED => decoder.i64()?.into(),
        FLOAT => Value::Number(Number::from_f64(decoder.f64()?).ok_or(Garbled)?),
        STRING => Value::String(decoder.string()?),
        ARRAY => Value::Array(decoder.list(|decoder| decode_below(decoder, below))?),
        OBJECT => {
            let pairs = decoder.list(|decoder| {
                let key = decoder.string()?;
                Ok((key, decode_below(decoder, below)?))
            })?;
            Value::Object(pairs.into_iter().collect::<Map<_, _>>())
        }
        _ => return Err(Garbled),
    })
}

fn encode_number(encoder: &mut Encoder, number: &Number) {
    if let Some(number) = number.as_u64() {
        encoder.u8(UNSIGNED);
        encoder.u64(number);
    } else if let Some(number) = number.as_i64() {
        encoder.u8(SIGNED);
        encoder.i64(number);
    } else {
        encoder.u8(FLOAT);
        // Every other number is one, and finite.
        encoder.f64(number.as_f64().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::bytes::{Decoder, Encoder, Garbled};
    use super::{MAX_DEPTH, decode, encode};

    #[test]
    fn every_kind_of_value_is_read_back() {
        let value = json!({
            "a": [null, true, false, 0, 127, 128, u64::MAX, -1, i64::MIN],
            "b": [0.1, -0.0, 1e300, 5e-324, 1.0],
            "ü": "\u{0}text", "": {}, "c": [],
        });
        let mut encoder = Encoder::default();
        encode(&mut encoder, &value);
        let mut decoder = Decoder::new(&encoder.0);
        let read = decode(&mut decoder).unwrap();
        assert_eq!(read.to_string(), value.to_string());
        assert!(decoder.is_at_end());
        for cut in 0..encoder.0.len() {
            assert_eq!(decode(&mut Decoder::new(&encoder.0[..cut])), Err(Garbled));
        }
    }

    #[test]
    fn values_are_not_nested_without_end() {
        let nested = |depth| {
            let mut value = Value::Null;
            for _ in 0..depth {
                value = Value::Array(vec![value]);
            }
            let mut encoder = Encoder::default();
            encode(&mut encoder, &value);
            decode(&mut Decoder::new(&encoder.0)) == Ok(value)
        };
        assert!(nested(MAX_DEPTH - 1));
        assert!(!nested(MAX_DEPTH));
        assert_eq!(decode(&mut Decoder::new(&[7; 1_000_000])), Err(Garbled));
    }
}
