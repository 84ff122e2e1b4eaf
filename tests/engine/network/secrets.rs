//! Secrets that the host puts into requests.

use runner::model::{Denied, Grant};
use serde_json::json;

use super::{Client, answers};
use crate::support::web::{WAYS, assert_code, assert_error, hello};

#[test]
fn the_host_puts_granted_secrets_into_headers() {
    let server = hello();
    let client = Client::new(&[&server.origin()]).with_secret("KEY", "s3cret");
    for way in WAYS {
        let answer = client.send(json!({
            "by": way, "url": server.url("/{{secret.KEY}}"), "body": "{{secret.KEY}}", "method": "POST",
            "headers": [["authorization", "Bearer {{secret.KEY}}"], ["x", "{{ secret.KEY }}, {{input.a}}"]],
        }));
        assert_eq!(answer["status"], 200, "{answer}");
    }
    for request in server.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(request.header("x"), Some("s3cret, {{input.a}}"));
        // In no other place than headers.
        assert!(!request.path.contains("s3cret"), "{request:?}");
        assert_eq!(request.body, b"{{secret.KEY}}");
    }
}

#[test]
fn a_secret_that_is_not_granted_is_named_and_nothing_is_sent() {
    let server = hello();
    let client = Client::new(&[&server.origin()]).with_secret("KEY", "s3cret");
    let request = |way: &str| json!({ "by": way, "url": server.url("/"), "headers": [["x", "{{secret.OTHER}}"]] });
    for way in WAYS {
        let ended = client.run(&[request(way)]);
        let denied = Denied {
            what: "the secret `OTHER`".to_owned(),
            grant: Some(Grant::Secret("OTHER".to_owned())),
        };
        assert_eq!(ended.denied, [denied]);
        let answer = &answers(ended)[0];
        if way == "send" {
            let text = "the secret `OTHER` is not granted; add \"OTHER\" to `secrets` of the provider's `grants`";
            assert_error(answer, "denied", text);
        } else {
            assert_code(answer, "HttpRequestDenied");
        }
    }
    // No grant could name this one, so none is suggested.
    let mut request = request("send");
    request["headers"] = json!([["x", "{{secret.A-B}}"]]);
    let ended = client.run(&[request]);
    assert_eq!(ended.denied[0].grant, None);
    let answer = &answers(ended)[0];
    assert_error(answer, "denied", "the secret `A-B` is not granted");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_secret_is_for_granted_hosts_alone() {
    let thief = hello();
    let client = Client::new(&["http://127.0.0.1:1"]).with_secret("KEY", "s3cret");
    let request = json!({ "url": thief.url("/"), "headers": [["x", "{{secret.KEY}}"]] });
    for answer in client.send_both(&request) {
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(thief.connections(), 0);
}

#[test]
fn a_secret_that_fits_into_no_header_is_not_shown() {
    let server = hello();
    let client = Client::new(&[&server.origin()]).with_secret("KEY", "s3cret\n");
    let request = json!({ "url": server.url("/"), "headers": [["x", "{{secret.KEY}}"]] });
    let answer = client.send(request);
    assert_error(&answer, "invalid-request", "ends with a line break");
    assert!(!answer.to_string().contains("s3cret"), "{answer}");
}
