//! Requests of guests by both interfaces: grants, requests on the wire, and responses.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{net::TcpSocket, runtime};

use crate::support::{
    processes::Process,
    running::Running,
    server::{Authority, Request, Response, Server},
    wait::{LONG, STOP_WITHIN},
    web::{
        WAYS, assert_code, assert_error, both, broken, ended, endless, get, hello, net, scenario,
        send, silent,
    },
};

#[test]
fn denied_request_names_the_missing_grant() {
    let server = hello();
    let port = server.port();
    let origins = [
        format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1".to_owned(),
        format!("http://127.0.0.2:{port}"),
        format!("http://localhost:{port}"),
        format!("http://[::1]:{port}"),
        "http://api.example.com".to_owned(),
        "https://api.example.com:444".to_owned(),
        "https://example.com".to_owned(),
        "https://a.api.example.com".to_owned(),
        "https://api.example.com.evil.test".to_owned(),
        "https://example.org".to_owned(),
        "https://evilexample.org".to_owned(),
        "http://a.example.org".to_owned(),
    ];
    let granted = [&*server.origin(), "https://api.example.com", "https://*.example.org"];
    let requests = origins.iter().map(|origin| both(&get(format!("{origin}/?password=1"))));
    let sent = send("", &net(&granted), &requests.flatten().collect::<Vec<_>>());
    for (number, origin) in origins.iter().enumerate() {
        let grant = format!("net = [\"{origin}\"]");
        let denied = json!([{ "what": format!("GET {origin}"), "grant": grant }]);
        for attempt in [2 * number, 2 * number + 1] {
            assert_eq!(sent.rows[attempt]["denied"], denied);
            assert_eq!(sent.rows[attempt]["usage"]["http_requests"], Value::Null);
        }
        let text = format!(
            "`GET {origin}` is not granted; add \"{origin}\" to `net` of the provider's `grants`"
        );
        assert_error(sent.answer(2 * number), "denied", &text);
        assert_code(sent.answer(2 * number + 1), "HttpRequestDenied");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn provider_without_grants_reaches_nothing() {
    let server = hello();
    let sent = send("", "", &both(&get(server.url("/"))));
    assert_error(sent.answer(0), "denied", "is not granted");
    assert_code(sent.answer(1), "HttpRequestDenied");
    assert_eq!(server.connections(), 0);
}

#[test]
fn spellings_of_a_host_are_equal() {
    let server = hello();
    let port = server.port();
    let written = [
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
    ];
    let url = |host: &str| get(format!("http://{host}:{port}/"));
    let encoded = ["%31%32%37.0.0.1", "\u{2460}\u{2461}\u{2466}.0.0.1", "127\u{3002}0.0.1"];
    let mut requests: Vec<_> = written.iter().flat_map(|host| both(&url(host))).collect();
    requests.extend(encoded.map(|host| vec![url(host)]));
    let sent = send("", &net(&[&server.origin()]), &requests);
    for (attempt, request) in requests.iter().enumerate() {
        assert_eq!(sent.answer(attempt)["status"], 200, "{request:?}");
    }
    // All requests named the same server in the same way.
    let host = format!("127.0.0.1:{port}");
    let asked = server.requests();
    assert_eq!(asked.len(), requests.len());
    assert!(asked.iter().all(|request| request.header("host") == Some(&host)));

    let others: Vec<_> = written.map(|host| vec![url(host)]).into();
    let refused = send("", &net(&["http://127.0.0.1:1"]), &others);
    let grant = format!("net = [\"{}\"]", server.origin());
    assert!(refused.rows.iter().all(|row| row["denied"][0]["grant"] == grant));

    // `localhost` means the loopback addresses. No other name does.
    let origin = format!("http://localhost:{port}");
    let local = send("", &net(&[&origin]), &both(&get(&origin)));
    assert_eq!(local.answer(0)["status"], 200);
    assert_eq!(local.answer(1)["status"], 200);
}

#[test]
fn granted_request_returns_its_response() {
    let server =
        Server::start(|request| Response::new(201).header("x-one", "1").body(request.body.clone()));
    let latin = Server::raw(|_, wire| {
        wire.send(b"HTTP/1.1 200 OK\r\nx-name: caf\xe9\r\ncontent-length: 0\r\n\r\n");
    });
    let post = json!({
        "method": "POST", "url": server.url("/a%20b?c=d"), "headers": [["X-Two", "2"]], "body": "hi",
    });
    let mut requests = both(&post).to_vec();
    for method in ["POST", "PUT", "PATCH", "GET"] {
        requests.push(vec![json!({ "method": method, "url": server.url("/empty") })]);
    }
    requests.push(vec![json!({ "url": latin.url("/"), "headers": [["x-name", "caf\u{e9}"]] })]);
    let sent = send("", &net(&[&server.origin(), &latin.origin()]), &requests);
    for attempt in 0..2 {
        let answer = sent.answer(attempt);
        assert_eq!((&answer["status"], &answer["body"]), (&json!(201), &json!("hi")));
        let headers = answer["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["x-one", "1"])), "{answer}");
        let usage = &sent.rows[attempt]["usage"];
        assert_eq!((&usage["http_requests"], &usage["host_calls"]), (&json!(1), &json!(1)));
    }
    let asked = server.requests();
    let (posts, empty): (Vec<_>, Vec<_>) = asked.iter().partition(|it| it.path != "/empty");
    for request in &posts {
        assert_eq!((&*request.path, &*request.method), ("/a%20b?c=d", "POST"));
        assert_eq!((request.header("x-two"), &*request.body), (Some("2"), &b"hi"[..]));
        let host = server.origin().replace("http://", "");
        assert_eq!(request.header("host"), Some(&*host));
    }
    // A method that usually has a body sends `content-length` even if it has none.
    for request in empty {
        let length = (request.method != "GET").then_some("0");
        assert_eq!(request.header("content-length"), length, "{request:?}");
    }
    assert_eq!(sent.answer(6)["headers"][0], json!(["x-name", "caf\u{e9}"]));
    assert_eq!(latin.requests()[0].header("x-name"), Some("caf\u{e9}"));
}

#[test]
fn redirects_are_returned_and_not_followed() {
    let private = hello();
    let location = private.url("/metadata");
    let target = location.clone();
    let server = Server::start(move |_| Response::new(302).header("location", &target));
    let mut requests = both(&get(server.url("/"))).to_vec();
    // A guest that follows a redirect sends a request of its own, which needs its own grant.
    requests.push(vec![get(&location)]);
    let sent = send("", &net(&[&server.origin()]), &requests);
    for attempt in 0..2 {
        let answer = sent.answer(attempt);
        assert_eq!(answer["status"], 302, "{answer}");
        let headers = answer["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["location", location])), "{answer}");
    }
    assert_error(sent.answer(2), "denied", &private.origin());
    assert_eq!(private.connections(), 0);
}

#[test]
fn invalid_request_is_not_sent() {
    let server = hello();
    let url = server.url("/");
    let header = |name: &str, value: &str| json!({ "url": url, "headers": [[name, value]] });
    let method = |method: &str| json!({ "url": url, "method": method });
    let userinfo = url.replace("//", "//me:secret@");
    let long = format!("http://{}.test/", "a".repeat(250));
    let cases = [
        (get("nonsense"), "invalid URL: "),
        (get("ftp://127.0.0.1/"), "use `https:` or `http:`"),
        (get("file:///etc/passwd"), "use `https:` or `http:`"),
        (get(&userinfo), "an `authorization` header"),
        (get(long), "more than 253 characters"),
        (get("https://*.evil.test/"), "not a valid DNS name"),
        (method("CONNECT"), "invalid method `"),
        // These responses repeat what the host has put into a request.
        (method("TRACE"), "invalid method `"),
        (method("trace"), "invalid method `"),
        (method("TRACK"), "invalid method `"),
        (method("G ET"), "invalid method `"),
        (method(""), "invalid method `"),
        (header("x", "a\r\nx-evil: 1"), "line breaks"),
        (header("x", "a\n"), "line breaks"),
        (header("x", "\u{2028}"), "outside of Latin-1"),
        (header("x\r\ny", "a"), "has an invalid name"),
        (header("x y", "a"), "has an invalid name"),
        (header("", "a"), "has an invalid name"),
        (header("Host", "evil.test"), "is set by the host"),
        (header("Content-Length", "1"), "is set by the host"),
        (header("Transfer-Encoding", "chunked"), "is set by the host"),
        (header("Connection", "upgrade"), "is set by the host"),
        (header("Upgrade", "websocket"), "is set by the host"),
        (header("Proxy-Authorization", "x"), "is set by the host"),
        (header("x", &"a".repeat(70_000)), "more than 64"),
        (header("x", &"{{".repeat(400_000)), "more than 64"),
    ];
    let by_wasi = |mut request: Value| {
        request["by"] = "wasi".into();
        request
    };
    let wasi = [
        (header("Host", "x"), "Forbidden"),
        (header("Transfer-Encoding", "x"), "Forbidden"),
        (header("Connection", "x"), "Forbidden"),
        (header("Upgrade", "x"), "Forbidden"),
        (header("x", "a\r\nx-evil: 1"), "InvalidSyntax"),
        (get(&userinfo), "an `authorization` header"),
        (method("TRACE"), "invalid method `"),
        (method("track"), "invalid method `"),
        (method("CONNECT"), "invalid method `"),
    ];
    let first: Vec<_> = cases.iter().map(|(request, _)| request.clone()).collect();
    let second = wasi.iter().map(|(request, _)| by_wasi(request.clone()));
    let sent = send("", &net(&[&server.origin()]), &[first, second.collect()]);
    for (answer, (_, text)) in sent.answers(0).iter().zip(cases) {
        assert_error(answer, "invalid-request", text);
    }
    for (answer, (_, text)) in sent.answers(1).iter().zip(wasi) {
        assert_code(answer, text);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn unsent_requests_hold_little_memory() {
    let bodies = 100;
    let headers = json!([["x", "a".repeat(70_000)]]);
    let long = |authority: &str, path: &str| {
        let url = format!("http://{authority}/{path}");
        json!({ "by": "wasi", "url": url })
    };
    let sent = send(
        "",
        "",
        &[
            vec![json!({ "by": "hoard", "size": bodies })],
            vec![json!({ "by": "wasi", "url": "http://127.0.0.1/", "headers": headers })],
            vec![long(&"a".repeat(1100), ""), long("a", &"b".repeat(8_200))],
            vec![json!({ "by": "wasi", "url": "http://a/", "method": "A".repeat(33) })],
        ],
    );
    let held = sent.answer(0)["held"].as_u64().unwrap();
    assert!(held > 0 && held <= bodies * 16 * 1024, "the host holds {held} bytes");
    assert_eq!(sent.rows[1]["error"]["class"], "limit", "{}", sent.rows[1]);
    assert_code(&sent.answers(2)[0], "bad authority");
    assert_code(&sent.answers(2)[1], "bad path");
    assert_code(sent.answer(3), "bad method");
}

#[test]
fn requests_and_bytes_end_at_their_limits() {
    let server = hello();
    let exact = Server::start(|_| Response::ok(vec![b'y'; 1000]));
    let large = Server::start(|_| Response::ok(vec![b'y'; 1001]));
    let declared = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n");
        wire.wait_for_close();
    });
    let chunked =
        endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "5\r\nhello\r\n");
    let until_close = endless("HTTP/1.1 200 OK\r\n\r\n", "hello");
    let many = broken(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101)));
    let long = broken(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000)));
    let heads = [
        many,
        long,
        endless("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        endless("HTTP/1.1 200 OK\r\nx: ", "yyyyyyyy"),
    ];
    let bodies = [large, declared, chunked, until_close];
    let request = |way: &str| json!({ "by": way, "url": server.url("/") });
    let mut attempts = vec![
        ["send", "wasi", "send", "send", "wasi"].map(request).to_vec(),
        vec![get(exact.url("/"))],
    ];
    let others = bodies.iter().chain(&heads);
    attempts.extend(others.flat_map(|server| both(&get(server.url("/")))));
    let origins = [&server, &exact].into_iter().chain(&bodies).chain(&heads);
    let origins: Vec<_> = origins.map(Server::origin).collect();
    let granted: Vec<_> = origins.iter().map(String::as_str).collect();
    let keys = "limits = { http_requests = 3, http_response = 1000 }";
    let sent = send(keys, &net(&granted), &attempts);

    assert_eq!(sent.rows[0]["usage"]["http_requests"], 3);
    let answers = sent.answers(0);
    assert_eq!(answers[2]["status"], 200);
    let text = "the attempt has made 3 requests, and `limits.http_requests` allows no more";
    assert_error(&answers[3], "other", text);
    assert_code(&answers[4], text);
    assert_eq!(server.requests().len(), 3);
    assert_eq!(sent.answer(1)["size"], 1000);
    for (number, server) in bodies.iter().enumerate() {
        let text = format!(
            "the response of `{}` has more than 1000 B, which `limits.http_response` sets",
            server.origin()
        );
        assert_error(sent.answer(2 + 2 * number), "too-large", &text);
        assert_code(sent.answer(3 + 2 * number), "1000");
    }
    for number in 0..heads.len() {
        let text = "more than 64 KiB of headers, or more than 100 headers";
        assert_error(sent.answer(10 + 2 * number), "too-large", text);
        assert_code(sent.answer(11 + 2 * number), "HttpResponseHeaderSectionSize");
    }
}

#[test]
fn request_ends_at_its_own_timeout() {
    let drip = Server::raw(|_, wire| {
        let mut is_there = wire.send("HTTP/1.1 200 OK\r\n\r\n");
        while is_there {
            is_there = wire.send("x");
            thread::yield_now();
        }
    });
    let stalled = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\n\r\nx");
        wire.wait_for_close();
    });
    let silent = silent();
    let timed = |server: &Server, way: &str| {
        vec![json!({ "by": way, "url": server.url("/"), "timeout": 300 })]
    };
    let origins = [&drip, &stalled, &silent].map(Server::origin);
    let granted = origins.each_ref().map(String::as_str);
    let attempts = [
        timed(&silent, "send"),
        timed(&drip, "send"),
        timed(&silent, "wasi"),
        timed(&stalled, "wasi"),
    ];
    let sent = send("limits = { http_response = \"1 GiB\" }", &net(&granted), &attempts);
    assert_error(sent.answer(0), "timeout", "");
    assert_error(sent.answer(1), "timeout", "");
    assert!(sent.answer(2)["error"].is_string(), "{}", sent.answer(2));
    assert!(sent.answer(3)["error"].is_string(), "{}", sent.answer(3));

    // Longer than the attempt's timeout.
    let server = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\n\r\nx");
        wire.wait_for_close();
    });
    let request = json!({ "url": server.url("/"), "timeout": 100_000 });
    let grants = format!("{}\n[defaults]\ntimeout = \"300ms\"", net(&[&server.origin()]));
    let sent = send("", &grants, &both(&request));
    for row in &sent.rows {
        assert_eq!(row["outcome"], "timeout", "{row}");
    }
}

#[test]
fn connections_are_kept_and_replaced() {
    let server = hello();
    // The server closes a connection just as the next request is sent.
    let closing = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        wire.wait_for_more();
    });
    let request = |way: &str| json!({ "by": way, "url": server.url("/") });
    let repeated = |method: &str| json!({ "method": method, "url": closing.url("/") });
    let post = json!({ "method": "POST", "url": closing.url("/"), "body": "1 more" });
    let sent = send(
        "",
        &net(&[&server.origin(), &closing.origin()]),
        &[
            (0..40).map(|number| request(WAYS[number % 2])).collect(),
            ["GET", "PUT", "DELETE", "GET", "PUT", "DELETE"].map(repeated).to_vec(),
            vec![post; 20],
        ],
    );
    let answers = [sent.answers(0), sent.answers(1)].into_iter().flatten();
    for answer in answers {
        assert_eq!(answer["status"], 200, "{answer}");
    }
    assert_eq!(server.requests().len(), 40);
    assert!(server.connections() < 20, "{} connections", server.connections());
    // A POST may have taken effect, so it is not repeated.
    let mut posts = sent.answers(2).iter();
    assert!(posts.any(|answer| answer["error"].is_string()));
}

#[test]
fn broken_servers_are_named() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    let ended = "ended before the response was complete";
    let cases = [
        ("SSH-2.0-OpenSSH_9.6\r\n", "other", "is not valid HTTP/1.1"),
        ("HTTP/1.1 999999 Odd\r\n\r\n", "other", "is not valid HTTP/1.1"),
        ("", "unreachable", ended),
        ("HTTP/1.1 200 OK\r\nx", "unreachable", ended),
        (&format!("{head}hello"), "unreachable", ended),
    ];
    let servers = cases.map(|(answer, _, _)| broken(answer));
    // It does not listen, and no other test gets its port.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap();
    let mut origins: Vec<_> = servers.iter().map(Server::origin).collect();
    origins.push(format!("http://{address}"));
    let granted: Vec<_> = origins.iter().map(String::as_str).collect();
    let attempts: Vec<_> = origins.iter().flat_map(|origin| both(&get(origin))).collect();
    let sent = send("", &net(&granted), &attempts);
    for (number, (_, kind, text)) in cases.iter().enumerate() {
        assert_error(sent.answer(2 * number), kind, text);
        assert_error(sent.answer(2 * number), kind, &origins[number]);
        let wasi = sent.answer(2 * number + 1);
        assert!(wasi["error"].is_string(), "{wasi}");
        // Errors reveal nothing about the host to a guest.
        for of_the_host in ["backtrace", "wasmtime", ".rs"] {
            assert!(!wasi.to_string().contains(of_the_host), "{wasi}");
        }
    }
    let text = format!("cannot reach `http://{address}`: no connection to {address}: ");
    assert_error(sent.answer(10), "unreachable", &text);
    assert_code(sent.answer(11), "ConnectionRefused");
}

#[test]
fn answered_requests_hold_no_resources() {
    // A guest may hold 256.
    const ROUNDS: usize = 300;
    let server = hello();
    let many = json!({ "by": "many", "url": server.url("/"), "size": ROUNDS });
    let sent = send("limits.http_requests = 1000", &net(&[&server.origin()]), &[vec![many]]);
    assert_eq!(sent.answer(0)["answered"], 3 * ROUNDS);
    assert_eq!(sent.rows[0]["usage"]["http_requests"], 3 * ROUNDS);
}

#[test]
fn service_that_really_failed_excuses_the_attempt() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let servers = [
        (Server::start(|_| Response::new(429)), true),
        (Server::start(|_| Response::new(503)), true),
        (Server::start(|_| Response::new(500)), false),
        (hello(), false),
        (broken("SSH-2.0-OpenSSH_9.6\r\n"), false),
        (broken(""), true),
        (broken(cut), true),
        (silent(), true),
        // A guest that does not wait for a service blames it for nothing.
        (silent(), false),
        (hello(), false),
    ];
    let fail = json!({ "by": "fail" });
    let mut attempts = vec![vec![fail.clone()]];
    for (number, (server, _)) in (1..).zip(&servers) {
        let mut asked = get(server.url("/"));
        match number {
            8 => asked["timeout"] = 1_000.into(),
            9 => asked["timeout"] = 50.into(),
            10 => asked["timeout"] = 0.into(),
            _ => {}
        }
        attempts.extend(both(&asked).map(|asked| [asked, vec![fail.clone()]].concat()));
    }
    let origins: Vec<_> = servers.iter().map(|(server, _)| server.origin()).collect();
    let granted: Vec<_> = origins.iter().map(String::as_str).collect();
    let runner = scenario("", &net(&granted), &attempts);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("[defaults]\nretries = {{ max = 0 }}\n{text}"));
    let ran = runner.exec(&[]).expect(1);
    let sent = ended(runner, attempts.len(), &ran.stderr);
    // An attempt that only says so is not excused.
    let expected = [false].into_iter().chain(servers.iter().flat_map(|(_, failed)| [*failed; 2]));
    let found = sent.rows.iter().map(|row| row["service_failed"] == true);
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn host_puts_granted_secrets_into_headers() {
    let (server, thief) = (hello(), hello());
    let filled = json!({
        "url": server.url("/{{secret.KEY}}"), "body": "{{secret.KEY}}", "method": "POST",
        "headers": [["authorization", "Bearer {{secret.KEY}}"], ["x", "{{ secret.KEY }}, {{{{input.a}}"]],
    });
    let with =
        |server: &Server, value: &str| json!({ "url": server.url("/"), "headers": [["x", value]] });
    let mut attempts = both(&filled).to_vec();
    attempts.extend(both(&with(&server, "{{secret.OTHER}}")));
    attempts.push(vec![with(&server, "{{{{secret.A-B}}")]);
    attempts.extend(both(&with(&thief, "{{secret.KEY}}")));
    attempts.push(vec![with(&server, "{{secret.LINES}}")]);
    let grants = format!("{}\nsecrets = [\"KEY\", \"LINES\"]", net(&[&server.origin()]));
    let runner = scenario("", &grants, &attempts);
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("KEY", "s3cret").env("LINES", "l1ne s3cret\n");
    let ran = Running::start(&mut command).finish();
    let sent = ended(runner, attempts.len(), &ran.stderr);

    for attempt in 0..2 {
        assert_eq!(sent.answer(attempt)["status"], 200, "{}", sent.rows[attempt]);
    }
    assert_eq!(server.requests().len(), 2);
    for request in server.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(request.header("x"), Some("s3cret, {{input.a}}"));
        // Secrets are bound only to headers.
        assert!(!request.path.contains("s3cret"), "{request:?}");
        assert_eq!(request.body, b"{{secret.KEY}}");
    }
    let denied = json!([{ "what": "the secret `OTHER`", "grant": "secrets = [\"OTHER\"]" }]);
    assert_eq!(sent.rows[2]["denied"], denied);
    assert_eq!(sent.rows[3]["denied"], denied);
    let text =
        "the secret `OTHER` is not granted; add \"OTHER\" to `secrets` of the provider's `grants`";
    assert_error(sent.answer(2), "denied", text);
    assert_code(sent.answer(3), "HttpRequestDenied");
    // No grant can name this host, so the message suggests none.
    assert_eq!(sent.rows[4]["denied"], json!([{ "what": "the secret `A-B`" }]));
    assert_error(sent.answer(5), "denied", &thief.origin());
    assert_eq!(thief.connections(), 0);
    assert_error(sent.answer(7), "invalid-request", "ends with a line break");
    assert!(!sent.run.text("index.jsonl").contains("s3cret"));
}

#[test]
fn bound_secret_is_only_for_its_header() {
    const SECRET: &str = "bound-S3cret";
    let echo = |request: &Request| {
        let told = request.header("x-key").unwrap_or("none").to_owned();
        Response::ok(format!("told {told}")).header("x-told", &told)
    };
    let (server, other) = (Server::start(echo), Server::start(echo));
    let bound =
        |origin: &str| format!("{{ name = \"KEY\", host = \"{origin}\", header = \"x-key\" }}");
    let request = |server: &Server| json!({ "url": server.url("/"), "headers": [["x-key", "{{secret.KEY}}"]] });
    let attempts: Vec<_> =
        [&server, &other].into_iter().flat_map(|it| both(&request(it))).collect();
    let grants = format!(
        "{}\nsecrets = [{}]",
        net(&[&server.origin(), &other.origin()]),
        bound(&server.origin())
    );
    let runner = scenario("", &grants, &attempts);
    let mut command = runner.command(&["exec", "scenario.toml"]);
    let ran = Running::start(command.env("KEY", SECRET)).finish();
    let sent = ended(runner, attempts.len(), &ran.stderr);
    for attempt in 0..2 {
        let answer = sent.answer(attempt);
        assert_eq!(answer["body"], "told [secret KEY]");
        // The secret was redacted before the guest could count its bytes.
        assert_eq!(answer["size"], "told [secret KEY]".len());
        let headers = answer["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["x-told", "[secret KEY]"])), "{answer}");
    }
    for request in server.requests() {
        assert_eq!(request.header("x-key"), Some(SECRET));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
    assert_eq!((server.requests().len(), other.connections()), (2, 0));
    let grant = format!("secrets = [{}]", bound(&other.origin()));
    for attempt in 2..4 {
        assert_eq!(sent.rows[attempt]["denied"][0]["grant"], grant);
    }
}

#[test]
fn server_certificates_must_be_trusted() {
    let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let secure = |authority, name| Server::secure(authority, name, |_| Response::ok("hello"));
    let good = secure(&known, "127.0.0.1");
    let other_name = secure(&known, "example.com");
    let untrusted = secure(&stranger, "127.0.0.1");
    // This server answers before it has read the whole request.
    let no_tls = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls_origin = format!("https://{}", no_tls.local_addr().unwrap());
    thread::spawn(move || {
        for stream in no_tls.incoming().take(2) {
            let mut stream = stream.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            // Closing a socket with unread bytes sends RST, which discards the answer.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let plain = good.origin().replace("https:", "http:");
    let origins = [good.origin(), other_name.origin(), untrusted.origin(), no_tls_origin];
    let granted = origins.each_ref().map(String::as_str);
    let mut attempts: Vec<_> = origins.iter().flat_map(|origin| both(&get(origin))).collect();
    attempts.push(vec![get(plain)]);
    let runner = scenario("", &net(&granted), &attempts);
    runner.write("roots.pem", known.pem());
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("SSL_CERT_FILE", runner.path("roots.pem"));
    // No proxy runs there: requests must not use it.
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    let ran = Running::start(&mut command).finish();
    let sent = ended(runner, attempts.len(), &ran.stderr);
    for attempt in 0..2 {
        assert_eq!(sent.answer(attempt)["body"], "hello", "{}", sent.rows[attempt]);
    }
    let safely = |number: usize| format!("cannot reach `{}` safely: ", origins[number]);
    for number in 1..4 {
        assert_error(sent.answer(2 * number), "unreachable", &safely(number));
        assert_code(sent.answer(2 * number + 1), "TlsCertificateError");
    }
    let unknown = "name its file in `SSL_CERT_FILE`";
    assert_error(sent.answer(4), "unreachable", unknown);
    let no_tls = "use `http:` for a server without TLS";
    assert_error(sent.answer(6), "unreachable", no_tls);
    assert_error(sent.answer(8), "denied", "is not granted");
}

#[test]
fn unusable_certificate_file_is_named() {
    let origin = "https://127.0.0.1:1";
    for (name, reason) in
        [("missing.pem", "does not exist"), ("scenario.toml", "has no certificate in PEM form")]
    {
        let runner = scenario("", &net(&[origin]), &[vec![get(origin)]]);
        let path = runner.path(name);
        let mut command = runner.command(&["exec", "scenario.toml"]);
        command.env("SSL_CERT_FILE", &path);
        let ran = Running::start(&mut command).finish();
        let sent = ended(runner, 1, &ran.stderr);
        let text = format!("`SSL_CERT_FILE` names `{}`, which {reason}", path.display());
        assert_error(sent.answer(0), "unreachable", &text);
    }
    let runner = scenario("", &net(&[origin]), &[vec![get(origin)]]);
    let ran = Running::start(runner.command(&["exec", "scenario.toml"]).env("SSL_CERT_FILE", ""));
    let sent = ended(runner, 1, &ran.finish().stderr);
    let answer = sent.answer(0).to_string();
    assert!(!answer.contains("`SSL_CERT_FILE` names"), "{answer}");
}

/// Opens a listener with a long queue of connections. The standard library's holds 128; a connection beyond that
/// arrives seconds later or not at all.
fn roomy_listener() -> TcpListener {
    let runtime = runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.unwrap();
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1024).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    listener
}

#[test]
fn waiting_requests_are_cheap_and_end_soon() {
    // A quarter of the promised number, because of this process's limit of open files.
    const ATTEMPTS: usize = 250;
    let server = roomy_listener();
    let origin = format!("http://{}", server.local_addr().unwrap());
    let grants = format!("{}\n[defaults]\nrepeat = {ATTEMPTS}", net(&[&origin]));
    let limits = "limits = { memory = \"2 MiB\" }";
    let runner = scenario(limits, &grants, &[vec![get(&origin)]]);
    let running = runner.start(&[&format!("-j{ATTEMPTS}")]);
    let (accepted, connections) = mpsc::channel();
    thread::spawn(move || server.incoming().try_for_each(|stream| accepted.send(stream)));
    let accept = |_| connections.recv_timeout(LONG).unwrap().unwrap();
    let waiting: Vec<_> = (0..ATTEMPTS).map(accept).collect();
    let anonymous = |worker: &Process| {
        let status = fs::read_to_string(format!("/proc/{}/status", worker.0)).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.unwrap().parse::<usize>().unwrap() * 1024
    };
    let workers = running.workers();
    let held: usize = workers.iter().map(anonymous).sum();
    let own = workers.len() * 16 * 1024 * 1024;
    assert!(held < own + ATTEMPTS * 200 * 1024, "{held} bytes");
    let (ran, took) = running.end_by(Signal::INT);
    ran.expect(130);
    assert!(took < STOP_WITHIN, "{took:?}");
    drop(waiting);
    let rows = runner.only_run().rows();
    assert!(rows.iter().all(|row| row["outcome"] == "stopped"));
}
