//! How many requests an attempt makes, how much of a response it takes, and how long it waits for one.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Client, answers, endless};
use crate::support::{
    engine::{LONG, assert_stopped, assert_timed_out},
    server::{Response, Server},
    web::{SOON, WAYS, assert_code, assert_error, broken, get, hello, silence},
};

#[test]
fn requests_are_counted_and_end_at_their_limit() {
    let server = hello();
    let mut client = Client::new(&[&server.origin()]);
    client.attempt.limits.http_requests = 3;
    let request = |way: &str| json!({ "by": way, "url": server.url("/") });
    let ended = client.run(&["send", "wasi", "send", "send", "wasi"].map(request));
    assert_eq!(ended.usage.http_requests, 3);
    let answers = answers(ended);
    assert_eq!(answers[2]["status"], 200);
    let text = "the attempt has made 3 requests, and `limits.http_requests` allows no more";
    assert_error(&answers[3], "other", text);
    assert_code(&answers[4], text);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn bytes_and_calls_are_counted() {
    let server = Server::start(|_| Response::ok(vec![b'y'; 500_000]));
    let client = Client::new(&[&server.origin()]);
    for way in WAYS {
        let ended = client.run(&[json!({
            "by": way, "method": "POST", "url": server.url("/"), "size": 300_000,
        })]);
        let usage = &ended.usage;
        assert_eq!((usage.http_requests, usage.host_calls), (1, 1), "{usage:?}");
        assert!((500_000..510_000).contains(&usage.bytes_in), "{usage:?}");
        assert!((300_000..310_000).contains(&usage.bytes_out), "{usage:?}");
        assert_eq!(answers(ended)[0]["size"], 500_000);
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.body.len() == 300_000)
    );
}

#[test]
fn a_body_over_its_limit_is_refused_and_not_read_on() {
    let exact = Server::start(|_| Response::ok(vec![b'y'; 1000]));
    let large = Server::start(|_| Response::ok(vec![b'y'; 1001]));
    let declared = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n");
        wire.wait_for_close();
    });
    let chunked = endless(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n",
    );
    let until_close = endless("HTTP/1.1 200 OK\r\n\r\n", "hello");
    let limit = |server: &Server| {
        let mut client = Client::new(&[&server.origin()]);
        client.attempt.limits.http_response = 1000;
        client.send_both(&get(server.url("/")))
    };
    for answer in limit(&exact) {
        assert_eq!(answer["size"], 1000, "{answer}");
    }
    for server in [large, declared, chunked, until_close] {
        let [send, wasi] = limit(&server);
        let text = format!(
            "the response of `{}` has more than 1000 B, which `limits.http_response` sets",
            server.origin()
        );
        assert_error(&send, "too-large", &text);
        assert_code(&wasi, "1000");
    }
}

#[test]
fn a_head_over_its_limit_is_refused() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let servers = [
        broken(many),
        broken(long),
        endless("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        endless("HTTP/1.1 200 OK\r\nx: ", "yyyyyyyy"),
    ];
    for server in servers {
        let client = Client::new(&[&server.origin()]);
        let [send, wasi] = client.send_both(&get(server.url("/")));
        assert_error(
            &send,
            "too-large",
            "have more than 64.0 KiB or are more than 100",
        );
        assert_code(&wasi, "HttpResponseHeaderSectionSize");
    }
}

#[test]
fn a_request_waits_no_longer_than_it_says() {
    let silent = Server::raw(silence);
    let drip = Server::raw(|_, wire| {
        let mut is_there = wire.send("HTTP/1.1 200 OK\r\n\r\n");
        while is_there {
            is_there = wire.send("x");
            thread::sleep(Duration::from_millis(10));
        }
    });
    for server in [silent, drip] {
        let client = Client::new(&[&server.origin()]);
        let answer = client.send(json!({ "url": server.url("/"), "timeout": 300 }));
        assert_error(&answer, "timeout", "");
    }
    let stalled = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\n\r\nx");
        wire.wait_for_close();
    });
    for server in [Server::raw(silence), stalled] {
        let client = Client::new(&[&server.origin()]);
        let answer = client.send(json!({ "by": "wasi", "url": server.url("/"), "timeout": 300 }));
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[test]
fn a_request_ends_with_the_attempts_deadline() {
    for way in WAYS {
        let (gone, is_gone) = mpsc::channel();
        let server = Server::raw(move |_, wire| {
            wire.send("HTTP/1.1 200 OK\r\n\r\nx");
            wire.wait_for_close();
            gone.send(()).unwrap();
        });
        let mut client = Client::new(&[&server.origin()]);
        client.attempt.timeout = Duration::from_millis(500);
        // Longer than the attempt has.
        let request = json!({ "by": way, "url": server.url("/"), "timeout": 100_000 });
        let start = Instant::now();
        let ended = client.run(&[request]);
        assert_timed_out(&ended, way);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // The connection goes with it.
        is_gone.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn a_stop_ends_a_request_at_once() {
    for way in WAYS {
        let (gone, is_gone) = mpsc::channel();
        let server = Server::raw(move |_, wire| {
            wire.wait_for_close();
            gone.send(()).unwrap();
        });
        let client = Client::new(&[&server.origin()]);
        let (ended, stopped) = thread::scope(|scope| {
            let attempt =
                scope.spawn(|| client.run(&[json!({ "by": way, "url": server.url("/") })]));
            server.wait_for_requests(1);
            let start = Instant::now();
            client.attempt.interrupt.now();
            (attempt.join().unwrap(), start.elapsed())
        });
        assert_stopped(&ended, way);
        assert!(stopped < SOON, "{stopped:?}");
        is_gone.recv_timeout(LONG).unwrap();
    }
}
