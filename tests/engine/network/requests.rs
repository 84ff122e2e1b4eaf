//! Requests as guests make them: what is sent, what comes back, and what is not sent at all.

use runner::model::ErrorClass;
use serde_json::{Value, json};

use super::Client;
use crate::support::{
    engine::{BENCH, error, file_of_text},
    server::{Response, Server},
    web::{WAYS, assert_code, assert_error, get, hello},
};

#[test]
fn a_granted_request_is_sent_and_its_response_comes_back() {
    let server = Server::start(|request| {
        assert_eq!(request.path, "/a%20b?c=d");
        Response::new(201)
            .header("x-one", "1")
            .body(request.body.clone())
    });
    let client = Client::new(&[&server.origin()]);
    for way in WAYS {
        let answer = client.send(json!({
            "by": way, "method": "POST", "url": server.url("/a%20b?c=d"), "headers": [["X-Two", "2"]], "body": "hi",
        }));
        assert_eq!(answer["status"], 201, "{answer}");
        assert_eq!(answer["body"], "hi");
        let headers = answer["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["x-one", "1"])), "{answer}");
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(
            (request.method.as_str(), &*request.body),
            ("POST", &b"hi"[..])
        );
        assert_eq!(request.header("x-two"), Some("2"));
        let host = server.origin().replace("http://", "");
        assert_eq!(request.header("host"), Some(host.as_str()));
    }
}

#[test]
fn a_method_with_a_body_by_its_meaning_names_its_length() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    for method in ["POST", "PUT", "PATCH", "GET"] {
        client.send(json!({ "method": method, "url": server.url("/") }));
    }
    let lengths: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("content-length").map(str::to_owned))
        .collect();
    let zero = Some("0".to_owned());
    assert_eq!(lengths, [zero.clone(), zero.clone(), zero, None]);
}

#[test]
fn headers_are_latin_1_both_ways() {
    let server = Server::raw(|_, wire| {
        wire.send(b"HTTP/1.1 200 OK\r\nx-name: caf\xe9\r\ncontent-length: 0\r\n\r\n");
    });
    let client = Client::new(&[&server.origin()]);
    let answer =
        client.send(json!({ "url": server.url("/"), "headers": [["x-name", "caf\u{e9}"]] }));
    assert_eq!(answer["headers"][0], json!(["x-name", "caf\u{e9}"]));
    assert_eq!(server.requests()[0].header("x-name"), Some("caf\u{e9}"));
}

#[test]
fn redirects_are_returned_and_not_followed() {
    let private = hello();
    let location = private.url("/metadata");
    let server = Server::start(move |_| Response::new(302).header("location", &location));
    let client = Client::new(&[&server.origin()]);
    for answer in client.send_both(&get(server.url("/"))) {
        assert_eq!(answer["status"], 302, "{answer}");
        let headers = answer["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["location", private.url("/metadata")])));
    }
    // A guest that follows it by itself asks again.
    let followed = client.send(get(private.url("/metadata")));
    assert_error(&followed, "denied", &private.origin());
    assert_eq!(private.connections(), 0);
}

#[test]
fn a_request_that_makes_no_sense_is_not_sent() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    let url = server.url("/");
    let header = |name: &str, value: &str| json!({ "url": url, "headers": [[name, value]] });
    let userinfo = url.replace("//", "//me:secret@");
    for (request, text) in [
        (get("nonsense"), "the URL is not valid: "),
        (get("ftp://127.0.0.1/"), "only `https:` and `http:`"),
        (get("file:///etc/passwd"), "only `https:` and `http:`"),
        (get(userinfo), "an `authorization` header"),
        (
            get(format!("http://{}.test/", "a".repeat(250))),
            "more than 253 characters",
        ),
        (
            json!({ "url": url, "method": "CONNECT" }),
            "not a method that can be sent",
        ),
        // They send back what the host has put into a request.
        (
            json!({ "url": url, "method": "TRACE" }),
            "not a method that can be sent",
        ),
        (
            json!({ "url": url, "method": "trace" }),
            "not a method that can be sent",
        ),
        (
            json!({ "url": url, "method": "TRACK" }),
            "not a method that can be sent",
        ),
        (
            json!({ "url": url, "method": "G ET" }),
            "not a method that can be sent",
        ),
        (
            json!({ "url": url, "method": "" }),
            "not a method that can be sent",
        ),
        (header("x", "a\r\nx-evil: 1"), "line breaks"),
        (header("x", "a\n"), "line breaks"),
        (header("x", "\u{2028}"), "not Latin-1"),
        (header("x\r\ny", "a"), "no header may have"),
        (header("x y", "a"), "no header may have"),
        (header("", "a"), "no header may have"),
        (header("Host", "evil.test"), "the host's to set"),
        (header("Content-Length", "1"), "the host's to set"),
        (header("Transfer-Encoding", "chunked"), "the host's to set"),
        (header("Connection", "upgrade"), "the host's to set"),
        (header("Upgrade", "websocket"), "the host's to set"),
        (header("Proxy-Authorization", "x"), "the host's to set"),
        (header("x", &"a".repeat(70_000)), "more than 64.0 KiB"),
        (header("x", &"{{".repeat(400_000)), "more than 64.0 KiB"),
        (get("https://*.evil.test/"), "no name in DNS has"),
    ] {
        assert_error(&client.send(request), "invalid-request", text);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn wasi_http_sends_nothing_back_either() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    for method in ["TRACE", "trace", "TRACK", "CONNECT"] {
        let request = json!({ "by": "wasi", "url": server.url("/"), "method": method });
        let answer = client.send(request);
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn wasi_http_refuses_the_same_headers_and_urls() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    let url = server.url("/");
    let by_wasi = |mut request: Value| {
        request["by"] = "wasi".into();
        client.send(request)
    };
    for name in ["Host", "Transfer-Encoding", "Connection", "Upgrade"] {
        let answer = by_wasi(json!({ "url": url, "headers": [[name, "x"]] }));
        assert_code(&answer, "Forbidden");
    }
    let answer = by_wasi(json!({ "url": url, "headers": [["x", "a\r\nx-evil: 1"]] }));
    assert_code(&answer, "InvalidSyntax");
    let answer = by_wasi(get(url.replace("//", "//me:secret@")));
    assert_code(&answer, "an `authorization` header");
    assert_eq!(server.connections(), 0);
}

#[test]
fn wasi_http_ends_a_guest_that_hoards_headers() {
    let headers = json!([["x", "a".repeat(70_000)]]);
    let request = json!({ "by": "wasi", "url": "http://127.0.0.1/", "headers": headers });
    let error = error(Client::new(&[]).run(&[request]));
    assert_eq!(error.class, Some(ErrorClass::Limit));
    let expected = "the guest holds more headers in one set than can be sent";
    assert_eq!(error.message, expected);
}

#[test]
fn a_guest_can_write_little_that_nobody_sends() {
    let bodies = 100;
    let answer = Client::new(&[]).send(json!({ "by": "hoard", "size": bodies }));
    let held = answer["held"].as_u64().unwrap();
    assert!(
        held > 0 && held <= bodies * 16 * 1024,
        "the host holds {held} bytes"
    );
}

#[test]
fn commands_may_import_wasi_http_and_nothing_that_listens() {
    let command = |interface: &str| {
        let text = format!(
            r#"(component
                 (import "{interface}" (instance))
                 (core module $module (func (export "run") (result i32) i32.const 0))
                 (core instance $instance (instantiate $module))
                 (func $run (result (result)) (canon lift (core func $instance "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#
        );
        BENCH.link_text(&text)
    };
    for version in ["0.2.0", "0.2.6"] {
        command(&format!("wasi:http/outgoing-handler@{version}")).unwrap();
        command(&format!("wasi:http/types@{version}")).unwrap();
    }
    for interface in [
        "wasi:http/incoming-handler@0.2.0",
        "wasi:http/handler@0.3.0",
    ] {
        let error = command(interface).unwrap_err().to_string();
        let expected =
            format!("plugin `hand.wasm` needs what this runner does not offer: `{interface}`");
        assert_eq!(error, expected);
    }
}

#[test]
fn a_component_that_answers_requests_is_no_plugin() {
    let text = r#"(component
        (instance $exports)
        (export "wasi:http/incoming-handler@0.2.0" (instance $exports)))"#;
    let error = format!("{:?}", file_of_text(text).unwrap_err());
    assert!(
        error.contains("wasi:http/incoming-handler@0.2.0"),
        "{error}"
    );
}
