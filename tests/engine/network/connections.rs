//! Connections that are shared, closed, or lead to servers that mean no good.

use std::{net::TcpListener, thread, time::Duration};

use serde_json::json;

use super::Client;
use crate::support::{
    server::Server,
    web::{WAYS, assert_code, assert_error, broken, get, hello},
};

/// Waits for the client to put a connection back whose response was read; until then, a request has one of its own.
fn let_it_be_idle() {
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn connections_are_shared_by_the_attempts_of_a_provider_and_by_nobody_else() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    for way in ["send", "wasi", "send"] {
        let request = json!({ "by": way, "url": server.url("/") });
        assert_eq!(client.send(request)["status"], 200);
        let_it_be_idle();
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 3));

    let other = Client::new(&[&server.origin()]);
    assert_eq!(other.send(get(server.url("/")))["status"], 200);
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_connection_that_the_server_has_closed_is_replaced() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    for connections in 1..=3 {
        for way in WAYS {
            let answer = client.send(json!({ "by": way, "url": server.url("/") }));
            assert_eq!(answer["status"], 200, "{answer}");
            let_it_be_idle();
        }
        assert_eq!(server.connections(), connections);
        server.disconnect();
    }
}

#[test]
fn a_request_is_repeated_if_that_does_no_harm_and_its_old_connection_is_closed_under_it() {
    let server = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        wire.wait_for_more();
    });
    let client = Client::new(&[&server.origin()]);
    for (index, method) in ["GET", "PUT", "DELETE"].iter().enumerate() {
        let request = json!({ "method": method, "url": server.url("/") });
        for answer in client.send_both(&request) {
            assert_eq!(answer["status"], 200, "{method}: {answer}");
        }
        assert_eq!(server.connections(), 2 * index + 2);
    }
    for way in WAYS {
        let post = json!({ "by": way, "method": "POST", "url": server.url("/"), "body": "1 more" });
        let_it_be_idle();
        let mut answers = (0..20).map(|_| client.send(post.clone()));
        assert!(answers.any(|answer| answer["error"].is_string()));
        assert_eq!(client.send(get(server.url("/")))["status"], 200);
    }
    assert!(server.connections() >= 8);
}

#[test]
fn servers_that_break_off_or_talk_nonsense_are_named() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    for (answer, kind, text) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", "other", "is not valid HTTP/1.1"),
        (
            "HTTP/1.1 999999 Odd\r\n\r\n",
            "other",
            "is not valid HTTP/1.1",
        ),
        ("", "unreachable", "ended before the response was complete"),
        (
            "HTTP/1.1 200 OK\r\nx",
            "unreachable",
            "ended before the response was complete",
        ),
        (
            &format!("{head}hello"),
            "unreachable",
            "ended before the response was complete",
        ),
    ] {
        let server = broken(answer);
        let client = Client::new(&[&server.origin()]);
        let [send, wasi] = client.send_both(&get(server.url("/")));
        assert_error(&send, kind, text);
        assert_error(&send, kind, &server.origin());
        assert!(wasi["error"].is_string(), "{wasi}");
    }

    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let origin = format!("http://{nobody}");
    let [send, wasi] = Client::new(&[&origin]).send_both(&get(&origin));
    assert_error(
        &send,
        "unreachable",
        &format!("`{origin}` cannot be reached: no connection to {nobody}: "),
    );
    assert_code(&wasi, "ConnectionRefused");
}
