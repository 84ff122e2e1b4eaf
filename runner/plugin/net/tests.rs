//! What a name resolves to decides, and it is asked for once.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use bytes::Bytes;
use http::HeaderMap;

use super::{
    connect::{Lookup, MAX_KEPT, MAX_LOOKUPS},
    failure::Failure,
    network::Network,
    outbound::{Outbound, RequestBody},
    policy::{NetPolicy, read_url},
};
use crate::{
    model::{Denied, Grant, Limits, NetGrant},
    plugin::{access::Access, secrets::Secrets},
};

type Addresses = io::Result<Vec<SocketAddr>>;

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

/// Sends a request by a network whose names resolve so.
async fn send(granted: &[&str], lookup: Lookup, url: &str) -> (Result<u16, Failure>, Outbound) {
    let access = Access {
        net: Network::with_lookup(grants(granted), lookup),
        ..Access::default()
    };
    let outbound = Outbound::open(&Limits::default(), &access.net);
    let sent = match outbound.admit("GET", url, HeaderMap::new(), &Secrets::default()) {
        Ok(admitted) => {
            outbound
                .send(admitted, RequestBody::Whole(Bytes::new()))
                .0
                .await
        }
        Err(failure) => Err(failure),
    };
    (sent.map(|response| response.status().as_u16()), outbound)
}

#[tokio::test]
async fn a_granted_name_does_not_grant_the_private_address_that_it_has() {
    for (lookup, ip, what, grant) in [
        (
            loopback as Lookup,
            "127.0.0.1",
            "a loopback address",
            "http://127.0.0.1:81",
        ),
        (
            metadata,
            "169.254.169.254",
            "the address of a cloud's metadata service",
            "http://169.254.169.254:81",
        ),
        (
            mapped,
            "10.0.0.1",
            "a private address",
            "http://10.0.0.1:81",
        ),
    ] {
        let granted = ["http://*.example.com:81", "http://10.0.0.1:82"];
        let (sent, outbound) = send(&granted, lookup, "http://a.example.com:81/").await;
        let failure = sent.unwrap_err();
        outbound.note(&failure);
        assert_eq!(
            failure.to_string(),
            format!(
                "`a.example.com` is at {ip}, {what}, which must be granted itself; add \"{grant}\" to `net` of the \
                 provider's `grants`"
            )
        );
        assert!(matches!(failure, Failure::Denied(_)), "{failure:?}");
        let denied = Denied {
            what: format!("http://a.example.com at {ip}, {what}"),
            grant: NetGrant::parse(grant).ok().map(Grant::Net),
        };
        assert_eq!(outbound.traffic().denied(), [denied]);
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_that_address_is_connected_to() {
    static LOOKUPS: AtomicU32 = AtomicU32::new(0);
    fn rebinding(_: &str, port: u16) -> Addresses {
        match LOOKUPS.fetch_add(1, Ordering::Relaxed) {
            0 => at(&["127.0.0.1"], port),
            _ => at(&["192.168.0.1"], port),
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1000];
        let length = stream.read(&mut request).unwrap();
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let origin = format!("http://name.test:{}", address.port());
    let granted = [origin.as_str(), &format!("http://{address}")];
    let (sent, _) = send(&granted, rebinding, &origin).await;
    assert_eq!(sent.unwrap(), 204);
    assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1);
    let request = server.join().unwrap();
    assert!(
        request.contains(&format!("host: name.test:{}\r\n", address.port())),
        "{request}"
    );
}

#[tokio::test]
async fn look_ups_that_nobody_waits_for_any_more_still_count() {
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
    let mut all: Vec<_> = (0..2 * MAX_LOOKUPS)
        .map(|number| tokio::spawn(look_up(number)))
        .collect();
    while started() < MAX_LOOKUPS {
        tokio::task::yield_now().await;
    }
    // Were their places free now, the other half would start.
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
async fn connections_are_kept_up_to_a_number_whatever_servers_they_go_to() {
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
    let granted = [
        format!("http://*.name.test:{port}"),
        format!("http://{address}"),
    ];
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
async fn a_name_that_nobody_knows_is_unreachable() {
    for (lookup, text) in [
        (unknown as Lookup, "no such name"),
        (nothing, "it has no address"),
    ] {
        let (sent, _) = send(&["http://name.test"], lookup, "http://name.test/").await;
        let failure = sent.unwrap_err();
        let expected =
            format!("`http://name.test` cannot be reached: its name cannot be looked up: {text}");
        assert_eq!(failure.to_string(), expected);
    }
}

#[test]
fn of_several_addresses_those_are_used_that_may_be() {
    let policy = NetPolicy::new(grants(&["http://name.test", "http://10.0.0.1"]));
    let found = ["192.168.0.1:80", "8.8.8.8:80", "10.0.0.1:80"].map(|text| text.parse().unwrap());
    let reachable = policy.reachable("http", "name.test", &found).unwrap();
    assert_eq!(reachable, found[1..]);
}

#[test]
fn an_address_is_granted_for_its_own_scheme_alone() {
    let granted = ["https://10.0.0.1:8443", "http://x.example.com:8443"];
    let policy = NetPolicy::new(grants(&granted));
    let found = ["10.0.0.1:8443".parse().unwrap()];
    assert!(policy.reachable("https", "10.0.0.1", &found).is_ok());
    let refusal = policy
        .reachable("http", "x.example.com", &found)
        .unwrap_err();
    let advice = "add \"http://10.0.0.1:8443\" to `net`";
    assert!(refusal.message.contains(advice), "{refusal}");
}

#[test]
fn a_plugin_that_describes_itself_sends_nothing() {
    let outbound = Outbound::closed(&Limits::default());
    let failure = outbound.admit(
        "GET",
        "http://127.0.0.1/",
        HeaderMap::new(),
        &Secrets::default(),
    );
    let failure = failure.err().unwrap();
    outbound.note(&failure);
    assert_eq!(
        failure.to_string(),
        "a plugin that describes itself has no network"
    );
    assert_eq!(outbound.traffic().denied(), []);
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
        (
            "http://b\u{fc}cher.example",
            "http://xn--bcher-kva.example/",
        ),
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
        // These would be read as something else where they stand in a grant.
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
