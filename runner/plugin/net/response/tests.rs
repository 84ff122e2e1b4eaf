//! Secrets that a guest never knows are in nothing that it is handed of a response.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use proptest::prelude::*;

use crate::{
    model::{BoundSecret, Limits, NetGrant},
    plugin::{
        access::Access,
        net::{
            failure::Failure,
            network::Network,
            outbound::{Outbound, RequestBody},
        },
        secrets::Secrets,
    },
};

const SECRET: &str = "S3cret/Value+of \"many\" signs";

fn unseen(places: Vec<BoundSecret>) -> Secrets {
    let values = BTreeMap::from([("KEY".to_owned(), SECRET.to_owned())]);
    Secrets::hiding(values, BTreeMap::from([("KEY".to_owned(), places)]))
}

/// Sends the secret to a server that answers with these pieces, each by itself; the head and the body that come back, and
/// the request.
async fn answered(pieces: Vec<Vec<u8>>) -> (Result<(HeaderMap, Vec<u8>), Failure>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
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
            // Whoever has read enough is gone.
            let _ = stream.write_all(&piece).and_then(|()| stream.flush());
        }
        String::from_utf8(request).unwrap()
    });
    let access = Access {
        net: Network::new(vec![NetGrant::parse(&origin).unwrap()]),
        ..Access::default()
    };
    let outbound = Outbound::open(&Limits::default(), &access.net);
    let mut headers = HeaderMap::new();
    headers.insert(
        header::AUTHORIZATION,
        HeaderValue::from_static("Bearer {{secret.KEY}}"),
    );
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-5"));
    let admitted = outbound.admit("GET", &origin, headers, &unseen(Vec::new()));
    let sent = outbound.send(admitted.unwrap(), RequestBody::Whole(Bytes::new()));
    let answer = match sent.0.await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            body.read().await.map(|body| (head.headers, body))
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
    [head]
        .into_iter()
        .chain(chunks)
        .chain([b"0\r\n\r\n".to_vec()])
        .collect()
}

#[tokio::test]
async fn an_echoed_secret_is_taken_out_of_every_header() {
    let head = format!(
        "HTTP/1.1 302 Found\r\nlocation: https://x.test/?k={}\r\nset-cookie: a={SECRET}; b\r\n\
         access-control-allow-origin: {}\r\nx-{}: 1\r\ncontent-length: 0\r\n\r\n",
        percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC),
        SECRET.to_lowercase(),
        SECRET
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );
    let (answer, request) = answered(vec![head.into_bytes()]).await;
    assert!(
        request.contains(&format!("authorization: Bearer {SECRET}\r\n")),
        "{request}"
    );
    let headers = answer.unwrap().0;
    let value = |name: HeaderName| headers[name].to_str().unwrap().to_owned();
    assert_eq!(value(header::LOCATION), "https://x.test/?k=[secret KEY]");
    assert_eq!(value(header::SET_COOKIE), "a=[secret KEY]; b");
    assert_eq!(value(header::ACCESS_CONTROL_ALLOW_ORIGIN), "[secret KEY]");
    assert_eq!(headers.len(), 3, "{headers:?}");
}

#[tokio::test]
async fn an_echoed_secret_is_taken_out_of_a_body_wherever_its_chunks_begin() {
    let json = serde_json::json!({ "authorization": SECRET }).to_string();
    let body = format!("<{SECRET}> {json} {SECRET}");
    for size in [1, 2, 7, 30, 1000] {
        let (answer, _) = answered(chunks(body.as_bytes(), size)).await;
        let text = String::from_utf8(answer.unwrap().1).unwrap();
        assert_eq!(
            text,
            r#"<[secret KEY]> {"authorization":"[secret KEY]"} [secret KEY]"#
        );
    }
    // The end may be missing, as what a server cuts off.
    let (answer, _) = answered(chunks(&SECRET.as_bytes()[..20], 4)).await;
    assert_eq!(answer.unwrap().1, b"[secret KEY]");
}

#[tokio::test]
async fn a_secret_is_not_asked_for_in_parts_nor_compressed() {
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx";
    let (answer, request) = answered(vec![head.into()]).await;
    assert!(
        request.contains("accept-encoding: identity\r\n"),
        "{request}"
    );
    assert!(!request.contains("range"), "{request}");
    let failure = answer.unwrap_err();
    assert!(failure.to_string().contains("compressed"), "{failure}");
}

#[test]
fn a_bound_secret_goes_into_its_header_of_its_host_alone() {
    let bound = BoundSecret::parse("KEY", "http://127.0.0.1:81", "X-Key").unwrap();
    let access = Access {
        net: Network::new(
            ["http://127.0.0.1:81", "http://127.0.0.1:82"]
                .map(|grant| NetGrant::parse(grant).unwrap())
                .into(),
        ),
        ..Access::default()
    };
    let secrets = unseen(vec![bound]);
    assert_eq!(secrets.get("KEY"), None);
    let outbound = Outbound::open(&Limits::default(), &access.net);
    let admit = |url: &str, header: &'static str| {
        let value = HeaderValue::from_static("{{secret.KEY}}");
        let headers = [(HeaderName::from_static(header), value)];
        outbound.admit("GET", url, headers.into_iter().collect(), &secrets)
    };
    let admitted = admit("http://127.0.0.1:81/a", "x-key").ok().unwrap();
    assert_eq!(admitted.headers["x-key"], SECRET);
    for (url, header, origin) in [
        ("http://127.0.0.1:82/a", "x-key", "http://127.0.0.1:82"),
        ("http://127.0.0.1:81/a", "x-other", "http://127.0.0.1:81"),
    ] {
        let failure = admit(url, header).err().unwrap();
        outbound.note(&failure);
        let element = format!("{{ name = \"KEY\", host = \"{origin}\", header = \"{header}\" }}");
        assert_eq!(
            failure.to_string(),
            format!(
                "the secret `KEY` in the header `{header}` of a request to {origin} is not granted; it is for `x-key` of \
                 http://127.0.0.1:81 alone; add {element} to `secrets` of the provider's `grants`"
            )
        );
        let grant = outbound.traffic().denied().pop().unwrap().grant.unwrap();
        assert_eq!(grant.to_string(), format!("secrets = [{element}]"));
    }
    assert_eq!(outbound.traffic().requests(), 1);
}

proptest! {
    #[test]
    fn what_comes_in_pieces_is_redacted_as_what_comes_whole(
        parts in proptest::collection::vec(
            prop_oneof![Just(SECRET.to_owned()), "[a-zS3/+]{0,12}", Just(SECRET[..9].to_owned())],
            0..8,
        ),
        cuts in proptest::collection::vec(0..200_usize, 0..20),
    ) {
        let secrets = unseen(Vec::new());
        let redactor = secrets.unseen().unwrap();
        let text = parts.concat() + "\n.";
        let whole = redactor.bytes(text.as_bytes()).unwrap_or(text.clone().into_bytes());
        let mut stream = crate::plugin::redact::stream::Stream::new(redactor.clone());
        let mut told = Vec::new();
        let mut rest = 0;
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([text.len()]) {
            told.extend(stream.push(&text.as_bytes()[rest..cut]));
            rest = cut;
        }
        prop_assert!(!stream.holds(), "nothing begins with a line break");
        told.extend(stream.end());
        prop_assert_eq!(told, whole);
    }
}
