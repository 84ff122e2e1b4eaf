//! [`post`]: one request to a webhook, by the hidden child `__post`, signed by <https://www.standardwebhooks.com>.

use std::io::{self, Read as _, Seek as _};
use std::{env, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use runner_model::protocol::{PostAnswer, PostRequest};
use runner_model::{NetGrant, units::plural};
use runner_prepare::children::{self, CERTIFICATES, describe_exit, memory_file, stderr_tail};
use runner_record::now;
use runner_scenario::{Webhook, WebhookUrl};
use sha2::Sha256;

use super::attempt::{Attempt, Deadline, Message};

/// Time for the child to start and to exit.
const CHILD_TIME: Duration = Duration::from_secs(2);
/// Start of a secret in Base64. Any other secret is used as it is.
const BASE64: &str = "whsec_";
/// Fewest bytes of a secret in Base64. A shorter one is cut off, or can be guessed from a signature.
const MIN_KEY: usize = 16;
/// Starts of texts that are not secrets: of signatures, and of the asymmetric keys of the specification. With `v1,whsec_`, some
/// services show secrets. In lower case.
const WRONG_STARTS: [&str; 5] = ["v1,", "v1a,", BASE64, "whsk_", "whpk_"];

/// Posts a body, and waits for the response.
pub(super) fn post(
    webhook: &Webhook,
    id: &str,
    message: &Message,
    timeout: Duration,
    deadline: &Deadline<'_>,
) -> Attempt {
    // A further attempt would fail in the same way: its settings and variables do not change.
    let request = match request(webhook, id, message, timeout) {
        Ok(request) => request,
        Err(mistake) => return Attempt::Refused(mistake),
    };
    let (status, reason, retry_after) = match send(&request, timeout, deadline) {
        Ok(Ok(PostAnswer::Response { status, reason, retry_after })) => {
            (status, reason, retry_after.map(Duration::from))
        }
        Ok(Ok(PostAnswer::Denied(reason))) => return Attempt::Refused(reason),
        Ok(Err(reason)) => return Attempt::failed(reason),
        Err(error) => return Attempt::failed(format!("cannot start a process: {error}")),
    };
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let answer = format!("HTTP {status}{reason}");
    match status {
        200..300 => Attempt::Delivered(answer),
        408 | 425 | 429 | 500.. => Attempt::Failed { answer, retry_after },
        _ => Attempt::Refused(answer),
    }
}

/// Checks the address of a webhook, and its secret if the settings name one.
pub(super) fn check(webhook: &Webhook) -> Result<(), String> {
    address(&webhook.url)?;
    signing_key(webhook).map(drop)
}

/// Returns the address of a webhook and its origin. Errors contain no part of the address, which may have a secret.
pub(super) fn address(url: &WebhookUrl) -> Result<(String, NetGrant), String> {
    let (url, name) = match url {
        WebhookUrl::Plain(url) => (url.clone(), "the address".to_owned()),
        WebhookUrl::Variable(name) => (variable(name)?, format!("`{name}`")),
    };
    let origin =
        NetGrant::of_address(&url).map_err(|reason| format!("{name} is not valid: {reason}"))?;
    Ok((url, origin))
}

fn request(
    webhook: &Webhook,
    id: &str,
    Message { body, secrets, .. }: &Message,
    timeout: Duration,
) -> Result<PostRequest, String> {
    let (url, _) = address(&webhook.url)?;
    let time = now().as_millis().div_euclid(1000);
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", concat!("runner/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", time.to_string()),
    ];
    if let Some(key) = signing_key(webhook)? {
        headers.push(("webhook-signature", sign(&key, id, time, body)?));
    }
    let values = secrets.iter().filter_map(|name| Some((name.clone(), variable(name).ok()?)));
    // A receiver may repeat any part of its address.
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let parts = path.split(['/', '?', '&', '=', '#']).chain([path]).zip(1..);
    let parts = parts.map(|(part, number)| (format!("address {number}"), part.to_owned()));
    Ok(PostRequest {
        secrets: values.chain(parts).collect(),
        url,
        private: webhook.private,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: body.clone(),
        timeout: timeout.into(),
    })
}

/// Returns the key that signs requests. `None` without a secret.
fn signing_key(webhook: &Webhook) -> Result<Option<Vec<u8>>, String> {
    let Some(name) = &webhook.secret else { return Ok(None) };
    key(&variable(name)?).map(Some).map_err(|problem| format!("the secret in `{name}` {problem}"))
}

/// Returns the value of `webhook-signature` for a body that is sent at `time`, in seconds since 1970.
///
/// # Errors
///
/// The key's length is invalid.
fn sign(key: &[u8], id: &str, time: i64, body: &str) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Returns the key of a secret.
///
/// # Errors
///
/// The secret cannot be used, as the rest of a sentence without any part of the key.
fn key(secret: &str) -> Result<Vec<u8>, String> {
    if let Some(encoded) = secret.strip_prefix(BASE64) {
        let key = STANDARD.decode(encoded).map_err(|_| "is not Base64 after `whsec_`")?;
        return if key.len() >= MIN_KEY {
            Ok(key)
        } else {
            let bytes = plural(key.len() as u64, "byte", "bytes");
            Err(format!(
                "has {bytes} after `whsec_`; use at least {MIN_KEY}, such as: whsec_$(openssl rand -base64 24)"
            ))
        };
    }
    let lower = secret.to_ascii_lowercase();
    match WRONG_STARTS.iter().find(|start| lower.starts_with(**start)) {
        Some(start) => Err(format!(
            "starts with `{}`; use the secret of the receiver, which starts with `whsec_`",
            &secret[..start.len()]
        )),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

fn variable(name: &str) -> Result<String, String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("the environment variable `{name}` is not set"))
}

/// Starts the child, and returns its answer, or the reason of a failure.
fn send(
    request: &PostRequest,
    timeout: Duration,
    deadline: &Deadline<'_>,
) -> io::Result<Result<PostAnswer, String>> {
    let mut stdout = memory_file("stdout", b"")?;
    let stderr = memory_file("stderr", b"")?;
    let certificates = CERTIFICATES.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
    let mut command = children::program(&["__post"]);
    command
        .envs(certificates.filter(|(_, value)| !value.is_empty()))
        .stdin(memory_file("stdin", &serde_json::to_vec(request)?)?)
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let mut child = children::start(command).wait()?;
    let Some(status) = deadline.wait_for(&mut child, timeout + CHILD_TIME)? else {
        return Ok(Err("the wait ended before the response".to_owned()));
    };
    let mut text = String::new();
    stdout.rewind()?;
    stdout.read_to_string(&mut text)?;
    Ok(match serde_json::from_str(&text) {
        Ok(answer) if status.success() => Ok(answer),
        _ if status.code() == Some(1) => Err(stderr_tail(&stderr)),
        _ => Err(format!("the process that sends the request {}", describe_exit(status, &stderr))),
    })
}

#[cfg(test)]
mod tests {
    use super::{key, sign};

    #[test]
    fn signature_is_that_of_the_specification() {
        // The example of the specification's own libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        let key = key(secret).unwrap();
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(sign(b"a", "id", 1, body), sign(b"b", "id", 1, body));
    }

    #[test]
    fn keys_that_are_cut_off_or_wrong_are_refused() {
        for (secret, says) in [
            ("whsec_no base64", "is not Base64"),
            ("whsec_", "has 0 bytes"),
            // 15 bytes.
            ("whsec_MfKQ9r8GKYqrTwjUPD8I", "has 15 bytes"),
            ("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "starts with `v1,`"),
            ("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with `v1,`"),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with `WHSEC_`"),
            ("Whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with `Whsec_`"),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with `whsk_`"),
            ("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with `whpk_`"),
        ] {
            let refusal = key(secret).unwrap_err();
            assert!(refusal.starts_with(says) && !refusal.contains("fKQ9"), "{secret}: {refusal}");
        }
        // 16 bytes.
        assert!(key("whsec_MfKQ9r8GKYqrTwjUPD8ILA==").is_ok());
    }
}
