//! How requests are signed: as <https://www.standardwebhooks.com> has it, for which every language has a library.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What secrets begin with that are bytes in Base64; others are the bytes of their text.
const BASE64_SECRET: &str = "whsec_";

/// Signs a body and when it is sent, in seconds since 1970, with HMAC-SHA-256.
pub(super) fn signature(secret: &str, id: &str, seconds: i64, body: &[u8]) -> String {
    let encoded = secret.strip_prefix(BASE64_SECRET);
    let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = decoded.as_deref().unwrap_or(secret.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of its own libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(secret, id, 1_614_265_330, body), expected);
    }

    #[test]
    fn everything_is_signed_and_a_secret_may_be_any_text() {
        let of = |secret, id, seconds, body: &[u8]| signature(secret, id, seconds, body);
        let signed = of("a secret", "id", 1, b"body");
        for other in [
            of("a secret!", "id", 1, b"body"),
            of("a secret", "ie", 1, b"body"),
            of("a secret", "id", 2, b"body"),
            of("a secret", "id", 1, b"bodies"),
            of("whsec_no base64", "id", 1, b"body"),
        ] {
            assert_ne!(signed, other);
        }
    }
}
