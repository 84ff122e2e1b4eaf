//! [`sign`]: signatures of webhooks by <https://www.standardwebhooks.com>.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Start of a secret in Base64. Any other secret is used as it is.
const BASE64: &str = "whsec_";

/// Returns the value of `webhook-signature` for a body that is sent at `time`, in seconds since 1970.
///
/// # Errors
///
/// The secret is not valid Base64.
pub(super) fn sign(secret: &str, id: &str, time: i64, body: &str) -> Result<String, &'static str> {
    let key = match secret.strip_prefix(BASE64) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "is not Base64 after `whsec_`")?,
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "has an invalid length")?;
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::sign;

    #[test]
    fn signature_is_that_of_the_specification() {
        // The example of the specification's own libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        let signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(sign("whsec_no base64", "id", 1, body).is_err());
        assert_ne!(sign("a", "id", 1, body), sign("b", "id", 1, body));
    }
}
