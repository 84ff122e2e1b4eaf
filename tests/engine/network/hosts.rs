//! Where requests may go, however a host is written.

use runner::model::{Denied, Grant, NetGrant};
use serde_json::json;

use super::{Client, answers};
use crate::support::web::{WAYS, assert_code, assert_error, get, hello};

#[test]
fn what_is_not_granted_is_denied_and_the_line_that_grants_it_is_named() {
    let server = hello();
    let port = server.port();
    let client = Client::new(&[
        &server.origin(),
        "https://api.example.com",
        "https://*.example.org",
    ]);
    for (url, origin) in [
        (
            format!("https://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}"),
        ),
        (
            "http://127.0.0.1/".to_owned(),
            "http://127.0.0.1".to_owned(),
        ),
        (
            format!("http://127.0.0.2:{port}/"),
            format!("http://127.0.0.2:{port}"),
        ),
        (
            format!("http://localhost:{port}/"),
            format!("http://localhost:{port}"),
        ),
        (
            format!("http://[::1]:{port}/"),
            format!("http://[::1]:{port}"),
        ),
        (
            "http://api.example.com/".to_owned(),
            "http://api.example.com".to_owned(),
        ),
        (
            "https://api.example.com:444/".to_owned(),
            "https://api.example.com:444".to_owned(),
        ),
        (
            "https://example.com/".to_owned(),
            "https://example.com".to_owned(),
        ),
        (
            "https://a.api.example.com/".to_owned(),
            "https://a.api.example.com".to_owned(),
        ),
        (
            "https://api.example.com.evil.test/".to_owned(),
            "https://api.example.com.evil.test".to_owned(),
        ),
        (
            "https://example.org/".to_owned(),
            "https://example.org".to_owned(),
        ),
        (
            "https://evilexample.org/".to_owned(),
            "https://evilexample.org".to_owned(),
        ),
        (
            "http://a.example.org/".to_owned(),
            "http://a.example.org".to_owned(),
        ),
    ] {
        for way in WAYS {
            let request = json!({ "by": way, "url": format!("{url}?password=1") });
            let ended = client.run(&[request]);
            let denied = Denied {
                what: format!("GET {origin}"),
                grant: NetGrant::parse(&origin).ok().map(Grant::Net),
            };
            assert_eq!(ended.denied, [denied], "{url}");
            assert_eq!(ended.usage.http_requests, 0);
            let answer = &answers(ended)[0];
            if way == "send" {
                let text = format!(
                    "`GET {origin}` is not granted; add \"{origin}\" to `net` of the provider's `grants`"
                );
                assert_eq!(
                    (&answer["error"], &answer["text"]),
                    (&json!("denied"), &json!(text))
                );
            } else {
                assert_code(answer, "HttpRequestDenied");
            }
        }
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_provider_without_grants_reaches_nothing() {
    let server = hello();
    for answer in Client::new(&[]).send_both(&get(server.url("/"))) {
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_host_that_looks_like_a_wildcard_makes_no_sense_and_no_grant_is_named_for_it() {
    let client = Client::new(&["https://api.example.com"]);
    let ended = client.run(&[get("https://*.example.com/".to_owned())]);
    assert_eq!(ended.denied, []);
    let text = "no name in DNS has";
    assert_error(&answers(ended)[0], "invalid-request", text);
}

#[test]
fn a_host_is_the_same_however_it_is_written() {
    let server = hello();
    let port = server.port();
    let granted = Client::new(&[&server.origin()]);
    let other = Client::new(&["http://127.0.0.1:1"]);
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ] {
        let request = get(format!("http://{host}:{port}/"));
        for answer in granted.send_both(&request) {
            assert_eq!(answer["status"], 200, "{host}: {answer}");
        }
        let ended = other.run(&[request]);
        let grant = NetGrant::parse(&server.origin()).ok().map(Grant::Net);
        assert_eq!(ended.denied[0].grant, grant, "{host}");
    }
    for host in [
        "%31%32%37.0.0.1",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "127\u{3002}0.0.1",
    ] {
        let answer = granted.send(get(format!("http://{host}:{port}/")));
        assert_eq!(answer["status"], 200, "{host}: {answer}");
    }
    // All of them named one server, by one name.
    let hosts = server.requests();
    let host = format!("127.0.0.1:{port}");
    assert!(
        hosts
            .iter()
            .all(|request| request.header("host") == Some(&host))
    );
}

#[test]
fn localhost_names_the_loopback_addresses() {
    let server = hello();
    let port = server.port();
    let origin = format!("http://localhost:{port}");
    for answer in Client::new(&[&origin]).send_both(&get(&origin)) {
        assert_eq!(answer["status"], 200, "{answer}");
    }
}
