//! Name look-ups, connections, and secrets in responses that the guest never sees.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use runner_model::protocol::Content;
use runner_model::{Limits, Micros, NetGrant, grants::BoundSecret, row::Denied};

use super::journal::{Answered, Asked};
use super::{
    Network, Outbound,
    connect::{Lookup, MAX_KEPT, MAX_LOOKUPS},
    failure::{Failure, MAX_HEAD},
    headers,
    policy::{NetPolicy, origin, read_url},
    request::whole,
};
use crate::{
    SecretUse, Secrets,
    interrupt::{Guard, Interrupt},
};

type Addresses = io::Result<Vec<SocketAddr>>;

const SECRET: &str = "S3cret/Value+of \"many\" signs";

fn at(addresses: &[&str], port: u16) -> Addresses {
    let addresses = addresses.iter().map(|address| {
        let address: IpAddr = address.parse().unwrap();
        SocketAddr::new(address, port)
    });
    Ok(addresses.collect())
}

fn loopback(_: &str, port: u16) -> Addresses {
    at(&["127.0.0.1"], port)
}

fn metadata(_: &str, port: u16) -> Addresses {
    at(&["169.254.169.254", "fd00:ec2::254"], port)
}

fn mapped(_: &str, port: u16) -> Addresses {
    at(&["::ffff:10.0.0.1"], port)
}

fn unknown(_: &str, _: u16) -> Addresses {
    Err(io::Error::other("no such name"))
}

fn nothing(_: &str, _: u16) -> Addresses {
    at(&[], 0)
}

fn grants(grants: &[&str]) -> Vec<NetGrant> {
    let grants = grants.iter().map(|grant| NetGrant::parse(grant).unwrap());
    grants.collect()
}

fn guard() -> Guard {
    Guard::new(Interrupt::default(), Micros(60_000_000))
}

fn outbound(network: Network, secrets: Secrets) -> Outbound {
    Outbound::open(&Limits::default(), network, Arc::new(secrets), guard())
}

/// Returns one secret that the guest never sees.
fn unseen(allowed: SecretUse) -> Secrets {
    let values = BTreeMap::from([("KEY".to_owned(), SECRET.to_owned())]);
    Secrets::new(&values, BTreeMap::from([("KEY".to_owned(), allowed)]))
}

/// Sends a request over a network with this look-up.
async fn send(granted: &[&str], lookup: Lookup, url: &str) -> (Result<u16, Failure>, Outbound) {
    let network = Network::with_lookup(grants(granted), lookup);
    let outbound = outbound(network, Secrets::default());
    let sent = match outbound.admit("GET", url, HeaderMap::new()) {
        Ok(admitted) => outbound.send(admitted, whole(Bytes::new()), None).0.await,
        Err(failure) => Err(failure),
    };
    (sent.map(|response| response.status().as_u16()), outbound)
}

/// Starts a server that answers one request with these pieces, each in its own chunk, and returns
/// the head of the request.
fn serve(pieces: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        for piece in pieces {
            // The client may have read enough and closed the connection.
            let _ = stream.write_all(&piece).and_then(|()| stream.flush());
        }
        String::from_utf8(request).unwrap()
    });
    (address, server)
}

#[tokio::test]
async fn granted_name_grants_no_private_address() {
    for (lookup, ip, what, grant) in [
        (loopback as Lookup, "127.0.0.1", "a loopback address", "http://127.0.0.1:81"),
        (
            metadata,
            "169.254.169.254",
            "the address of a cloud's metadata service",
            "http://169.254.169.254:81",
        ),
        (mapped, "10.0.0.1", "a private address", "http://10.0.0.1:81"),
    ] {
        let granted = ["http://*.example.com:81", "http://10.0.0.1:82"];
        let (sent, outbound) = send(&granted, lookup, "http://a.example.com:81/").await;
        let failure = sent.unwrap_err();
        outbound.record_denial(&failure);
        assert_eq!(
            failure.to_string(),
            format!(
                "`a.example.com` is at {ip}, {what}, which needs a grant of its own; add \"{grant}\" to `net` of the \
                 provider's `grants`"
            )
        );
        assert!(matches!(failure, Failure::Denied(_)), "{failure:?}");
        let denied = Denied {
            what: format!("http://a.example.com at {ip}, {what}").into(),
            grant: Some(format!("net = [\"{grant}\"]").into()),
        };
        assert_eq!(outbound.counts().denied.0, [denied]);
    }
}

#[tokio::test]
async fn name_is_looked_up_only_once() {
    static LOOKUPS: AtomicU32 = AtomicU32::new(0);
    fn rebinding(_: &str, port: u16) -> Addresses {
        match LOOKUPS.fetch_add(1, Ordering::Relaxed) {
            0 => at(&["127.0.0.1"], port),
            _ => at(&["127.0.0.2"], port),
        }
    }

    let (address, server) = serve(vec![b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()]);
    let origin = format!("http://name.test:{}", address.port());
    let granted = [&*origin, &*format!("http://{address}")];
    let (sent, _) = send(&granted, rebinding, &origin).await;
    assert_eq!(sent.unwrap(), 204);
    assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1);
    let request = server.join().unwrap();
    assert!(request.contains(&format!("host: name.test:{}\r\n", address.port())), "{request}");
}

#[tokio::test]
async fn abandoned_look_ups_still_count() {
    static STARTED: Mutex<usize> = Mutex::new(0);
    static ANSWERS: OnceLock<()> = OnceLock::new();
    fn silent(_: &str, _: u16) -> Addresses {
        *STARTED.lock().unwrap() += 1;
        ANSWERS.wait();
        Ok(Vec::new())
    }
    let started = || *STARTED.lock().unwrap();

    let network = Network::with_lookup(grants(&["http://*.name.test"]), silent);
    let look_up = |number: usize| {
        let uri = format!("http://{number}.name.test/").parse().unwrap();
        network.0.client.get(uri)
    };
    let mut all: Vec<_> =
        (0..2 * MAX_LOOKUPS).map(|number| tokio::spawn(look_up(number))).collect();
    while started() < MAX_LOOKUPS {
        tokio::task::yield_now().await;
    }
    // If a request freed its permit, the other half would start.
    let second = all.split_off(MAX_LOOKUPS);
    for first in all {
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let started_in_silence = started();
    ANSWERS.set(()).unwrap();
    for second in second {
        second.await.unwrap().unwrap_err();
    }
    assert_eq!(started_in_silence, MAX_LOOKUPS);
    assert_eq!(started(), 2 * MAX_LOOKUPS);
}

#[tokio::test]
async fn kept_connections_are_bounded_over_all_servers() {
    const MORE: usize = 5;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (closed, closings) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, closed) = (stream.unwrap(), closed.clone());
            thread::spawn(move || {
                let mut request = [0; 1000];
                while stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    stream.write_all(answer).unwrap();
                }
                closed.send(number)
            });
        }
    });

    let port = address.port();
    let granted = [format!("http://*.name.test:{port}"), format!("http://{address}")];
    let granted = granted.each_ref().map(String::as_str);
    let network = Network::with_lookup(grants(&granted), loopback);
    for number in 0..MAX_KEPT + MORE {
        let uri = format!("http://{number}.name.test:{port}/");
        let response = network.0.client.get(uri.parse().unwrap()).await;
        assert_eq!(response.unwrap().status(), 204);
    }
    let closings = tokio::task::spawn_blocking(move || closings.into_iter().take(MORE).collect());
    let mut closed: Vec<usize> = closings.await.unwrap();
    closed.sort_unstable();
    assert_eq!(closed, (MAX_KEPT..MAX_KEPT + MORE).collect::<Vec<_>>());
}

#[tokio::test]
async fn unknown_name_is_unreachable() {
    for (lookup, text) in [(unknown as Lookup, "no such name"), (nothing, "it has no address")] {
        let (sent, _) = send(&["http://name.test"], lookup, "http://name.test/").await;
        let failure = sent.unwrap_err();
        let expected = format!("cannot reach `http://name.test`: cannot look up its name: {text}");
        assert_eq!(failure.to_string(), expected);
    }
}

#[test]
fn only_allowed_addresses_are_used() {
    let policy = NetPolicy::new(grants(&["http://name.test", "http://10.0.0.1"]));
    let found = ["192.168.0.1:80", "8.8.8.8:80", "10.0.0.1:80"].map(|text| text.parse().unwrap());
    let reachable = policy.reachable("http", "name.test", &found).unwrap();
    assert_eq!(reachable, found[1..]);
}

#[test]
fn address_grant_is_for_its_scheme_alone() {
    let granted = ["https://10.0.0.1:8443", "http://x.example.com:8443"];
    let policy = NetPolicy::new(grants(&granted));
    let found = ["10.0.0.1:8443".parse().unwrap()];
    assert!(policy.reachable("https", "10.0.0.1", &found).is_ok());
    let refusal = policy.reachable("http", "x.example.com", &found).unwrap_err();
    let advice = "add \"http://10.0.0.1:8443\" to `net`";
    assert!(refusal.message.contains(advice), "{refusal}");
}

#[test]
fn describe_has_no_network() {
    let outbound = Outbound::closed(&Limits::default(), guard());
    let failure = outbound.admit("GET", "http://127.0.0.1/", HeaderMap::new());
    let failure = failure.err().unwrap();
    outbound.record_denial(&failure);
    assert_eq!(failure.to_string(), "there is no network during `describe`");
    assert_eq!(outbound.counts().denied.0, []);
}

#[test]
fn urls_have_one_form() {
    for (text, form) in [
        ("HTTP://Example.COM:80/a?b#c", "http://example.com/a?b"),
        ("https://example.com.:443", "https://example.com/"),
        ("http://0300.0250.0.1/", "http://192.168.0.1/"),
        ("http://3232235521", "http://192.168.0.1/"),
        ("http://[::ffff:c0a8:1]/", "http://192.168.0.1/"),
        ("http://192.168.0.1./", "http://192.168.0.1/"),
        ("http://\u{ff11}27.0.0.1", "http://127.0.0.1/"),
        ("http://b\u{fc}cher.example", "http://xn--bcher-kva.example/"),
        ("http:\\\\example.com\\a", "http://example.com/a"),
        ("http://@example.com/", "http://example.com/"),
    ] {
        assert_eq!(read_url(text).unwrap().as_str(), form);
    }
    for text in [
        "",
        "http://",
        "//example.com",
        "http://.",
        "http://a@example.com",
        "http://:p@example.com",
        "http://127.0.0.1:80@example.com",
        "http://1.2.3.4.5",
        "http://[::1",
        "http://exa mple.com",
        "http://256.0.0.1",
        // In a grant, this would mean something else.
        "https://*.evil.test/",
        "https://a\"b.test",
        "https://a;b.test",
        "https://$(a).test",
        "https://{{secret.A}}.test",
        "https://a'b.test",
        "data:text/plain,a",
    ] {
        assert!(read_url(text).is_err(), "{text:?}");
    }
}

#[test]
fn invalid_headers_are_refused() {
    let read = |name: &str, value: &str| headers::read(&[(name.to_owned(), value.to_owned())]);
    for (name, value) in [
        ("Host", "a"),
        ("content-length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("CONNECTION", "close"),
        ("expect", "100-continue"),
        ("a b", "c"),
        ("a\r\nb", "c"),
        ("", "c"),
        ("a", "b\r\nhost: c"),
        ("a", "b\nc"),
        ("a", "b\0"),
        ("a", "\u{20ac}"),
    ] {
        assert!(read(name, value).is_err(), "{name:?}: {value:?}");
    }
    for (name, shown) in [
        ("a\u{1b}b".to_owned(), "the header `a\\u{1b}b` has an invalid name"),
        ("a b".repeat(1_000), "a header whose name has 3000 bytes has an invalid name"),
    ] {
        assert_eq!(read(&name, "a").unwrap_err().to_string(), shown);
    }
    let map = read("X-Name", "caf\u{e9}").unwrap();
    assert_eq!(map["x-name"].as_bytes(), b"caf\xe9");
    assert_eq!(headers::write(&map), [("x-name".to_owned(), "caf\u{e9}".to_owned())]);
}

#[test]
fn headers_with_secrets_stay_bounded() {
    let url = read_url("https://a.example").unwrap();
    let long = "x".repeat(Secrets::MAX_BYTES);
    let values =
        BTreeMap::from([("LONG".to_owned(), long), ("LINES".to_owned(), "one\ntwo".to_owned())]);
    let uses = values.keys().map(|name| (name.clone(), SecretUse::Known));
    let secrets = Secrets::new(&values, uses.collect());
    let fill = |value: &str| {
        let mut map = headers::read(&[("a".to_owned(), value.to_owned())]).unwrap();
        headers::fill(&mut map, &secrets, &url).map(|()| headers::size(&map))
    };
    assert_eq!(fill("plain").unwrap(), 6);
    for value in ["{{secret.LONG}}", &"b".repeat(MAX_HEAD), "{{secret.LINES}}"] {
        assert!(matches!(fill(value), Err(Failure::Invalid(_))));
    }
    let Err(Failure::Denied(refusal)) = fill("{{secret.OTHER}}") else {
        panic!("it is not granted");
    };
    let denied = refusal.denied.unwrap();
    assert_eq!(denied.what, "the secret `OTHER`".into());
    assert_eq!(denied.grant, Some("secrets = [\"OTHER\"]".into()));
}

/// Sends the secret to a server that answers with these pieces. Returns head and body of the
/// response, and the request.
async fn answered(pieces: Vec<Vec<u8>>) -> (Result<(HeaderMap, Vec<u8>), Failure>, String) {
    let (address, server) = serve(pieces);
    let url = format!("http://{address}");
    let outbound = outbound(Network::new(grants(&[&url])), unseen(SecretUse::AnyHeader));
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer {{secret.KEY}}"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-5"));
    let admitted = outbound.admit("GET", &url, headers).ok().unwrap();
    let sent = outbound.send(admitted, whole(Bytes::new()), None);
    let answer = match sent.0.await {
        Ok(response) => {
            let whole = outbound.read_whole(response).await;
            whole.map(|(_, headers, body)| (headers, body.to_vec()))
        }
        Err(failure) => Err(failure),
    };
    (answer, server.join().unwrap())
}

fn chunks(body: &[u8], size: usize) -> Vec<Vec<u8>> {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunks = body.chunks(size).map(|chunk| {
        let length = format!("{:x}\r\n", chunk.len());
        [length.as_bytes(), chunk, b"\r\n"].concat()
    });
    [head].into_iter().chain(chunks).chain([b"0\r\n\r\n".to_vec()]).collect()
}

#[tokio::test]
async fn echoed_secret_is_redacted_in_headers() {
    let percent = |byte: u8| match byte {
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let head = format!(
        "HTTP/1.1 302 Found\r\nlocation: https://x.test/?k={}\r\nset-cookie: a={SECRET}; b\r\n\
         access-control-allow-origin: {}\r\nx-{}: 1\r\ncontent-length: 0\r\n\r\n",
        SECRET.bytes().map(percent).collect::<String>(),
        SECRET.to_lowercase(),
        SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(),
    );
    let (answer, request) = answered(vec![head.into_bytes()]).await;
    assert!(request.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{request}");
    let headers = answer.unwrap().0;
    let value = |name: HeaderName| headers[name].to_str().unwrap().to_owned();
    assert_eq!(value(header::LOCATION), "https://x.test/?k=[secret KEY]");
    assert_eq!(value(header::SET_COOKIE), "a=[secret KEY]; b");
    assert_eq!(value(header::ACCESS_CONTROL_ALLOW_ORIGIN), "[secret KEY]");
    assert_eq!(headers.len(), 3, "{headers:?}");
}

#[tokio::test]
async fn echoed_secret_is_redacted_across_chunks() {
    let json = serde_json::json!({ "authorization": SECRET }).to_string();
    let body = format!("<{SECRET}> {json} {SECRET}");
    for size in [1, 2, 7, 30, 1000] {
        let (answer, _) = answered(chunks(body.as_bytes(), size)).await;
        let text = String::from_utf8(answer.unwrap().1).unwrap();
        assert_eq!(text, r#"<[secret KEY]> {"authorization":"[secret KEY]"} [secret KEY]"#);
    }
}

#[tokio::test]
async fn echoed_secret_is_redacted_in_trailers() {
    let mut pieces = chunks(b"body", 4);
    pieces.pop();
    pieces.push(format!("0\r\nx-told: {SECRET}\r\n\r\n").into_bytes());
    let (address, server) = serve(pieces);
    let url = format!("http://{address}");
    let outbound = outbound(Network::new(grants(&[&url])), unseen(SecretUse::AnyHeader));
    let admitted = outbound.admit("GET", &url, HeaderMap::new()).ok().unwrap();
    let sent = outbound.send(admitted, whole(Bytes::new()), None);
    let body = sent.0.await.unwrap().into_body();
    let collected = http_body_util::BodyExt::collect(body).await.unwrap();
    let trailers = collected.trailers().cloned();
    assert_eq!(collected.to_bytes(), "body");
    assert_eq!(trailers.unwrap()["x-told"], "[secret KEY]");
    server.join().unwrap();
}

#[tokio::test]
async fn partial_and_compressed_responses_are_not_requested() {
    for encoding in ["content-encoding: gzip", "transfer-encoding: gzip, chunked"] {
        let head = format!("HTTP/1.1 200 OK\r\n{encoding}\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        let (answer, request) = answered(vec![head.into()]).await;
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
        assert!(!request.contains("range"), "{request}");
        let failure = answer.unwrap_err();
        assert!(failure.to_string().contains("compressed"), "{failure}");
    }
}

#[test]
fn bound_secret_stays_at_its_place() {
    let bound = BoundSecret::parse("KEY", "http://127.0.0.1:81", "X-Key").unwrap();
    let network = Network::new(grants(&["http://127.0.0.1:81", "http://127.0.0.1:82"]));
    let outbound = outbound(network, unseen(SecretUse::Bound(vec![bound])));
    let admit = |url: &str, header: &'static str| {
        let value = HeaderValue::from_static("{{secret.KEY}}");
        let headers = [(HeaderName::from_static(header), value)];
        outbound.admit("GET", url, headers.into_iter().collect())
    };
    let admitted = admit("http://127.0.0.1:81/a", "x-key").ok().unwrap();
    assert_eq!(admitted.head.headers["x-key"], SECRET);
    for (url, header, origin) in [
        ("http://127.0.0.1:82/a", "x-key", "http://127.0.0.1:82"),
        ("http://127.0.0.1:81/a", "x-other", "http://127.0.0.1:81"),
    ] {
        let failure = admit(url, header).err().unwrap();
        outbound.record_denial(&failure);
        let element = format!("{{ name = \"KEY\", host = \"{origin}\", header = \"{header}\" }}");
        assert_eq!(
            failure.to_string(),
            format!(
                "the secret `KEY` in the header `{header}` of a request to {origin} is not granted; it is only for `x-key` of \
                 http://127.0.0.1:81; add {element} to `secrets` of the provider's `grants`"
            )
        );
        let grant = outbound.counts().denied.0.pop().unwrap().grant.unwrap();
        assert_eq!(&*grant, format!("secrets = [{element}]"));
    }
    assert_eq!(outbound.counts().requests, 1);
}

#[test]
fn made_up_host_is_shown_as_its_grant() {
    let granted = ["http://*.example.com:81"];
    let url = "http://s3cret.example.com:81/";
    let peer = |secrets: Secrets| {
        let outbound = outbound(Network::new(grants(&granted)), secrets);
        outbound.admit("GET", url, HeaderMap::new()).ok().unwrap().peer
    };
    assert_eq!(peer(Secrets::default()), "s3cret.example.com:81");
    assert_eq!(peer(unseen(SecretUse::AnyHeader)), "*.example.com:81");
    assert_eq!(origin(&read_url(url).unwrap()), "http://s3cret.example.com:81");
}

#[test]
fn secrets_are_in_no_part_of_an_entry() {
    const KEY: &str = "hunter2-zq9xkwtop";
    let values = BTreeMap::from([("KEY".to_owned(), KEY.to_owned())]);
    let secrets = Secrets::new(&values, BTreeMap::new());
    let redactor = secrets.redactor().map(AsRef::as_ref);
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_static(KEY);
    headers.insert(name, HeaderValue::from_static("v"));
    headers.insert("x-value", HeaderValue::from_static(KEY));
    let mut asked = Asked::new(KEY, &format!("http://{KEY}/"), &headers, redactor);
    asked.set_body(KEY.as_bytes(), redactor);
    let (failure, is_redacted) = Failure::Invalid(format!("bad {KEY}")).to_call(redactor);
    assert!(is_redacted);
    let shown = format!("{asked:?} {failure:?}");
    assert!(!shown.contains(KEY), "{shown}");
}

#[test]
fn encoded_secrets_are_in_no_entry() {
    let values = BTreeMap::from([("KEY".to_owned(), SECRET.to_owned())]);
    let secrets = Secrets::new(&values, BTreeMap::new());
    for form in [
        SECRET,
        "s3crET/VALUE+OF \"many\" signs",
        "S3cret%2FValue%2Bof%20%22many%22%20signs",
        "S3cret%2fValue%2Bof+%22many%22+signs",
        "S3cret/Value+of \\\"many\\\" signs",
        "UzNjcmV0L1ZhbHVlK29mICJtYW55IiBzaWducw==",
        "5333637265742F56616C75652B6F6620226D616E7922207369676E73",
        "5333637265742f56616C75652b6F6620226d616E7922207369676e73",
    ] {
        let redactor = secrets.redactor().map(AsRef::as_ref);
        let mut answered = Answered {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: format!("<{form}>").into(),
            took: Micros(1),
        };
        let mark = "<[secret KEY]>";
        let (response, is_redacted) = answered.write(redactor);
        assert!(is_redacted && response.body == Content::Text(mark.into()), "{form}: {response:?}");
        answered.headers.insert("x", format!("<{form}>").parse().unwrap());
        let (response, _) = answered.write(redactor);
        assert_eq!(response.headers, [("x".into(), Content::Text(mark.into()))], "{form}");
    }
}

/// As text, it would have six bytes for each.
#[test]
fn control_characters_are_kept_in_base64() {
    let body = |body: Vec<u8>| {
        let answered = Answered {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
            took: Micros(1),
        };
        answered.write(None).0.body
    };
    assert_eq!(body(vec![0; 3]), Content::Bytes { base64: "AAAA".into() });
    assert_eq!(body(vec![0xff; 3]), Content::Bytes { base64: "////".into() });
    let text = "\0 a\tfew\r\nin a long text";
    assert_eq!(body(text.into()), Content::Text(text.into()));
    assert_eq!(body(Vec::new()), Content::default());
}
