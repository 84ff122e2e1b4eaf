//! Requests of guests: what is granted and what is not, by which interface it may come, and servers that mean no good.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use runner::model::{Denied, ErrorClass, Grant, NetGrant};
use serde_json::{Value, json};

use crate::support::{
    engine::{
        Attempt, BENCH, Ended, LONG, Plugin, assert_stopped, assert_timed_out, error, file_of_text,
        output,
    },
    guests::guest,
    runner::{Runner, Running, Signal, tests},
    server::{Authority, Request, Response, Server, Wire},
};

/// How soon a guest that waits for a server must be gone.
const SOON: Duration = Duration::from_secs(5);
/// Both ways to send a request.
const WAYS: [&str; 2] = ["send", "wasi"];

static WEB: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("web")).unwrap());

/// A provider, as its attempts see it.
struct Client {
    attempt: Attempt,
}

impl Client {
    fn new(grants: &[&str]) -> Self {
        let attempt = Attempt::new().net(grants);
        Self { attempt }
    }

    fn with_secret(self, name: &str, value: &str) -> Self {
        let attempt = self.attempt.secret(name, value);
        Self { attempt }
    }

    /// Runs one attempt that makes these requests, one after the other.
    fn run(&self, requests: &[Value]) -> Ended {
        self.attempt.run(&WEB, &json!({ "requests": requests }))
    }

    /// Makes one request by `http.send`.
    #[track_caller]
    fn send(&self, request: Value) -> Value {
        answers(self.run(&[request])).remove(0)
    }

    /// Makes one request by each interface.
    #[track_caller]
    fn send_both(&self, request: &Value) -> [Value; 2] {
        WAYS.map(|way| {
            let mut request = request.clone();
            request["by"] = way.into();
            self.send(request)
        })
    }
}

/// What came back for each request.
#[track_caller]
fn answers(ended: Ended) -> Vec<Value> {
    output(ended).as_array().unwrap().clone()
}

fn get(url: impl Into<String>) -> Value {
    json!({ "url": url.into() })
}

/// An error of `http.send`, whose text has this part.
#[track_caller]
fn assert_error(answer: &Value, kind: &str, part: &str) {
    assert_eq!(answer["error"], kind, "{answer}");
    assert!(answer["text"].as_str().unwrap().contains(part), "{answer}");
}

/// An error of `wasi:http`, which has this part.
#[track_caller]
fn assert_code(answer: &Value, part: &str) {
    let error = answer["error"].as_str();
    assert!(error.is_some_and(|error| error.contains(part)), "{answer}");
}

fn hello() -> Server {
    Server::start(|_| Response::ok("hello"))
}

/// A server that answers with these bytes and closes the connection.
fn broken(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    Server::raw(move |_, wire| {
        wire.send(&answer);
    })
}

/// A server that goes on with these bytes for as long as somebody reads them.
fn endless(beginning: &'static str, part: &'static str) -> Server {
    Server::raw(move |_, wire| {
        let mut is_there = wire.send(beginning);
        while is_there {
            is_there = wire.send(part);
        }
    })
}

/// Waits for a server's answer for ever.
fn silence(_: &Request, wire: &mut Wire<'_>) {
    wire.wait_for_close();
}

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

#[test]
fn a_request_that_makes_no_sense_is_not_sent() {
    let server = hello();
    let client = Client::new(&[&server.origin()]);
    let url = server.url("/");
    let header = |name: &str, value: &str| json!({ "url": url, "headers": [[name, value]] });
    let userinfo = url.replace("//", "//me:secret@");
    for (request, text) in [
        (get("nonsense"), "the URL is none: "),
        (get("ftp://127.0.0.1/"), "only `https:` and `http:`"),
        (get("file:///etc/passwd"), "only `https:` and `http:`"),
        (get(userinfo), "an `authorization` header"),
        (
            get(format!("http://{}.test/", "a".repeat(250))),
            "more than 253 characters",
        ),
        (
            json!({ "url": url, "method": "CONNECT" }),
            "no method that can be sent",
        ),
        // They send back what the host has put into a request.
        (
            json!({ "url": url, "method": "TRACE" }),
            "no method that can be sent",
        ),
        (
            json!({ "url": url, "method": "trace" }),
            "no method that can be sent",
        ),
        (
            json!({ "url": url, "method": "TRACK" }),
            "no method that can be sent",
        ),
        (
            json!({ "url": url, "method": "G ET" }),
            "no method that can be sent",
        ),
        (
            json!({ "url": url, "method": "" }),
            "no method that can be sent",
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
fn servers_that_break_off_or_talk_nonsense_are_named() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    for (answer, kind, text) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", "other", "is no HTTP/1.1"),
        ("HTTP/1.1 999999 Odd\r\n\r\n", "other", "is no HTTP/1.1"),
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

/// Where the environment asks for backtraces, errors have one; it is of the host.
#[test]
fn an_error_tells_a_guest_nothing_of_the_host() {
    let server = broken("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    let runner = Runner::new(&["web"]);
    let input = json!({"requests": [{"by": "wasi", "url": server.url("/")}]}).to_string();
    let grant = format!("net={}", server.origin());
    let args = [
        "plugin", "run", "web.wasm", "--input", &input, "--grant", &grant,
    ];
    let mut command = runner.command(&args);
    command.env("RUST_BACKTRACE", "1");
    let ran = Running::spawn(command).finish().expect(0);
    assert!(ran.stdout.contains("error"), "{}", ran.stdout);
    for of_the_host in ["backtrace", "wasmtime", "::", ".rs"] {
        assert!(!ran.stdout.contains(of_the_host), "{}", ran.stdout);
    }
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

/// A folder with a scenario whose only test asks for these URLs, of servers that it is granted.
fn scenario(grants: &[String], urls: &[String]) -> Runner {
    let runner = Runner::new(&["web"]);
    let requests = urls.iter().map(|url| format!("{{ url = \"{url}\" }}"));
    let requests: Vec<_> = requests.collect();
    runner.scenario(&format!(
        "{}\n[providers.web]\nplugin = \"web.wasm\"\n[providers.web.grants]\nnet = {grants:?}\n",
        tests(&format!("a | {{ requests = [{}] }} |", requests.join(", ")))
    ));
    runner
}

#[test]
fn a_bound_secret_is_shown_stored_and_for_its_host_and_header_alone() {
    const SECRET: &str = "bound-S3cret";
    let echo = |request: &Request| {
        let told = request.header("x-key").unwrap_or("none").to_owned();
        Response::ok(format!("told {told}")).header("x-told", &told)
    };
    let (server, other) = (Server::start(echo), Server::start(echo));
    let bound = format!(
        "{{ name = \"KEY\", host = \"{}\", header = \"x-key\" }}",
        server.origin()
    );
    let request = |server: &Server, way: &str| {
        format!(
            "{{ by = \"{way}\", url = \"{}\", headers = [[\"x-key\", \"{{{{secret.KEY}}}}\"]] }}",
            server.url("/")
        )
    };
    let runner = Runner::new(&["web"]);
    let table = WAYS.map(|way| {
        format!(
            "good-{way} | {{ requests = [{}] }} |\nbad-{way} | {{ requests = [{}] }} |\n",
            request(&server, way),
            request(&other, way)
        )
    });
    runner.scenario(&format!(
        "{}\n[providers.web]\nplugin = \"web.wasm\"\n[providers.web.grants]\nnet = {:?}\nsecrets = [{bound}]\n",
        tests(&table.concat()),
        [server.origin(), other.origin()]
    ));
    let with_secret = |args: &[&str]| {
        let mut command = runner.command(args);
        command.env("KEY", SECRET).env("RUNNER_LOG", "trace");
        Running::spawn(command).finish()
    };
    let shown = with_secret(&["exec", "scenario.toml", "--dry-run"]).expect(0);
    shown.says(&[&format!("secrets = [{bound}]")]);
    with_secret(&["exec", "scenario.toml"]).expect(0);

    for request in server.requests() {
        assert_eq!(request.header("x-key"), Some(SECRET));
    }
    assert_eq!((server.requests().len(), other.connections()), (2, 0));
    let run = runner.only_run();
    let stored = &run.manifest()["providers"][0]["grants"];
    let expected = json!([{ "name": "KEY", "host": server.origin(), "header": "x-key" }]);
    assert_eq!(stored["bound_secrets"], expected, "{stored}");
    for way in WAYS {
        let row = run.row(&format!("good-{way}"));
        assert_eq!(row["output"][0]["body"], "told [secret KEY]");
        // It was taken out before the guest could count it.
        assert_eq!(row["output"][0]["size"], "told [secret KEY]".len());
        let row = run.row(&format!("bad-{way}"));
        let elsewhere = bound.replace(&server.origin(), &other.origin());
        assert_eq!(
            row["denied"][0]["grant"],
            format!("secrets = [{elsewhere}]")
        );
    }
    runner.run(&["show"]).expect(0);

    let input = json!({ "requests": [{ "url": server.url("/"), "headers": [["x-key", "{{secret.KEY}}"]] }] });
    let input = input.to_string();
    let net = format!("net={}", server.origin());
    let flag = format!("secret=KEY,host={},header=x-key", server.origin());
    let args = [
        "plugin", "run", "web.wasm", "--input", &input, "--grant", &net, "--grant",
    ];
    let ran = with_secret(&[&args[..], &[&flag]].concat()).expect(0);
    assert!(ran.stdout.contains("told [secret KEY]"), "{}", ran.stdout);
    let flag = format!("secret=KEY,host={},header=x-key", other.origin());
    let ran = with_secret(&[&args[..], &[&flag]].concat()).expect(0);
    ran.says(&[&format!("secret=KEY,host={},header=x-key", server.origin())]);
}

#[test]
fn servers_prove_who_they_are_by_certificates_that_the_system_trusts() {
    let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let secure = |authority, name| Server::secure(authority, name, |_| Response::ok("hello"));
    let good = secure(&known, "127.0.0.1");
    let other_name = secure(&known, "example.com");
    let untrusted = secure(&stranger, "127.0.0.1");
    let no_tls = TcpListener::bind("127.0.0.1:0").unwrap();
    let granted = [
        good.origin(),
        other_name.origin(),
        untrusted.origin(),
        format!("https://{}", no_tls.local_addr().unwrap()),
    ];
    thread::spawn(move || {
        let (mut stream, _) = no_tls.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        stream.read_to_end(&mut Vec::new())
    });
    let plain = good.origin().replace("https:", "http:");
    let runner = scenario(
        &granted,
        &[&granted[..], std::slice::from_ref(&plain)].concat(),
    );
    runner.write("ca.pem", known.pem());

    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("SSL_CERT_FILE", runner.path("ca.pem"));
    // Nobody is there; requests do not ask it.
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    Running::spawn(command).finish().expect(0);
    let answers = &runner.only_run().row("a")["output"];
    assert_eq!(answers[0]["body"], "hello", "{answers}");
    assert_error(
        &answers[1],
        "unreachable",
        "cannot be reached safely: invalid peer certificate",
    );
    assert_error(
        &answers[2],
        "unreachable",
        "UnknownIssuer; nobody whom this machine trusts has signed it: install the authority's certificate, or let \
         `SSL_CERT_FILE` name it",
    );
    assert_error(
        &answers[3],
        "unreachable",
        "a server that does not speak TLS is reached by `http:`",
    );
    assert_error(&answers[4], "denied", &format!("add \"{plain}\" to `net`"));
    let requests = [&good, &other_name, &untrusted].map(|server| server.requests().len());
    assert_eq!(requests, [1, 0, 0]);

    // Without anybody to trust.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("SSL_CERT_FILE", runner.path("scenario.toml"));
    Running::spawn(command).finish().expect(0);
    let answers = &runner.runs()[1].row("a")["output"];
    assert_error(&answers[0], "unreachable", "no trusted certificates: ");
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_server() {
    let server = Server::raw(silence);
    let runner = scenario(&[server.origin()], &[server.url("/")]);
    let live = runner.start(&[]);
    server.wait_for_requests(1);
    let (ran, took) = live.end_by(Signal::INT);
    assert!(took < SOON, "{took:?}");
    ran.expect(130);
    assert_eq!(runner.only_run().rows()[0]["outcome"], "stopped");
}

#[test]
fn attempts_of_a_run_share_connections() {
    let server = hello();
    let runner = scenario(&[server.origin()], &[server.url("/")]);
    runner.exec(&["--repeat", "20", "-j", "1"]).expect(0);
    assert_eq!(server.requests().len(), 20);
    // One, but where an attempt begins before the connection of the one before it is idle.
    assert!(server.connections() < 10, "{}", server.connections());
    let row = &runner.only_run().rows()[0];
    assert_eq!(row["usage"]["http_requests"], 1, "{row}");
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

/// The host keeps the texts of requests that nobody sends, and a guest may have hundreds.
#[test]
fn the_texts_of_a_request_that_is_not_sent_are_bounded() {
    // Of a method the last of its cases, of an option the second.
    let text =
        |case: u32, bytes: u32| format!("(i32.const {case}) (i32.const 1024) (i32.const {bytes})");
    let runner = Runner::new(&[]);
    for (name, parameter, case, most) in [
        ("set-method", r#""method" $method"#, 9, 32),
        ("set-authority", r#""authority" (option string)"#, 1, 1_024),
        (
            "set-path-with-query",
            r#""path-with-query" (option string)"#,
            1,
            8_192,
        ),
    ] {
        let begin = if name == "set-path-with-query" {
            "(i32.store8 (i32.const 1024) (i32.const 47))"
        } else {
            ""
        };
        let component = |arguments: &str| {
            format!(
                r#"(component
                 (import "wasi:http/types@0.2.0" (instance $types
                   (export "fields" (type $fields (sub resource)))
                   (export "outgoing-request" (type $request (sub resource)))
                   (type $m (variant (case "get") (case "head") (case "post") (case "put") (case "delete")
                     (case "connect") (case "options") (case "trace") (case "patch") (case "other" string)))
                   (export "method" (type $method (eq $m)))
                   (export "[constructor]fields" (func (result (own $fields))))
                   (export "[constructor]outgoing-request"
                     (func (param "headers" (own $fields)) (result (own $request))))
                   (export "[method]outgoing-request.{name}"
                     (func (param "self" (borrow $request)) (param {parameter}) (result (result))))))
                 (core module $own (memory (export "memory") 1))
                 (core instance $own (instantiate $own))
                 (alias core export $own "memory" (core memory $memory))
                 (core func $fields (canon lower (func $types "[constructor]fields")))
                 (core func $request (canon lower (func $types "[constructor]outgoing-request")))
                 (core func $set (canon lower (func $types "[method]outgoing-request.{name}")
                   (memory $memory)))
                 (core module $module
                   (import "" "fields" (func $fields (result i32)))
                   (import "" "request" (func $request (param i32) (result i32)))
                   (import "" "set" (func $set (param i32 i32 i32 i32) (result i32)))
                   (import "" "memory" (memory 1))
                   (func (export "run") (result i32)
                     (memory.fill (i32.const 1024) (i32.const 97) (i32.const 20000))
                     {begin}
                     (call $set (call $request (call $fields)) {arguments})))
                 (core instance $instance (instantiate $module (with "" (instance
                   (export "fields" (func $fields)) (export "request" (func $request))
                   (export "set" (func $set)) (export "memory" (memory $memory))))))
                 (func $run (result (result)) (canon lift (core func $instance "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#
            )
        };
        // It exits with what it got.
        for (bytes, code) in [(most, 0), (most + 1, 1)] {
            runner.wat("unsent.wasm", &component(&text(case, bytes)));
            let ran = runner.run(&["plugin", "run", "unsent.wasm"]).expect(code);
            ran.says(&[if code == 0 { "passed" } else { "exit" }]);
        }
    }
}
