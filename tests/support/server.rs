//! [`Server`], a local HTTP/1.1 server that behaves well or badly, as a test wants.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};

use super::wait::{LONG, Patience};

/// A server on a free port of 127.0.0.1. Dropping it closes all its connections.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

/// A request as received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path with the query.
    pub(crate) path: String,
    /// Headers in order, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A well-formed answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The server's end of a connection, for behaviour that no [`Response`] can express.
pub(crate) struct Wire<'a>(&'a mut dyn Stream);

/// Signs the certificates of HTTPS servers. No system trusts it by default.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

type Handler = dyn Fn(&Request, &mut Wire<'_>) -> Next + Send + Sync;

/// Use of a connection after an answer.
enum Next {
    Keep,
    Close,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    connections: Vec<TcpStream>,
    is_over: bool,
}

impl Server {
    /// Starts a server with proper answers on persistent connections.
    pub(crate) fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(keep_alive(answer)))
    }

    /// Starts a server that writes arbitrary bytes after a request, and closes the connection.
    pub(crate) fn raw(answer: impl Fn(&Request, &mut Wire<'_>) + Send + Sync + 'static) -> Self {
        let handler = move |request: &Request, wire: &mut Wire<'_>| {
            answer(request, wire);
            Next::Close
        };
        Self::listen(None, Arc::new(handler))
    }

    /// Starts a server with proper answers over HTTPS, with a certificate for `name`.
    pub(crate) fn secure(
        authority: &Authority,
        name: &str,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(authority.identity(name)), Arc::new(keep_alive(answer)))
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns scheme, address and port, as in grants and URLs.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.origin() + path
    }

    /// Returns all complete requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.seen().requests.clone()
    }

    /// Returns the number of connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.seen().connections.len()
    }

    /// Waits until `count` requests have arrived.
    #[track_caller]
    pub(crate) fn wait_for_requests(&self, count: usize) {
        let mut patience = Patience::new();
        let second = Duration::from_secs(1);
        loop {
            let is_missing = |seen: &mut Seen| seen.requests.len() < count;
            let changed = &self.shared.changed;
            let waited = changed.wait_timeout_while(self.shared.seen(), second, is_missing);
            let (seen, timeout) = waited.unwrap();
            if !timeout.timed_out() {
                return;
            }
            let what = format!("{count} requests have arrived, not only {:?}", seen.requests);
            drop(seen);
            patience.check(&what);
        }
    }

    /// Closes every connection. New ones are accepted.
    pub(crate) fn disconnect(&self) {
        for connection in &self.shared.seen().connections {
            // Connections that are already closed do not count.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn listen(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            shared: Arc::default(),
        };
        let shared = Arc::clone(&server.shared);
        thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                if !shared.accept(&connection) {
                    return;
                }
                let (tls, handler) = (tls.clone(), Arc::clone(&handler));
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(connection, tls, &shared, &*handler));
            }
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.seen().is_over = true;
        self.disconnect();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Request {
    /// Returns a header's value. `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Reads one request. `None` if the connection ended first.
    fn read(reader: &mut BufReader<impl Read>) -> Option<Self> {
        let first = read_line(reader)?;
        let mut parts = first.split(' ');
        let mut request = Self {
            method: parts.next()?.to_owned(),
            path: parts.next()?.to_owned(),
            ..Self::default()
        };
        loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.push(header);
        }
        request.body = request.read_body(reader)?;
        Some(request)
    }

    fn read_body(&self, reader: &mut BufReader<impl Read>) -> Option<Vec<u8>> {
        if self.header("transfer-encoding") == Some("chunked") {
            return read_chunks(reader);
        }
        let length = self.header("content-length");
        let length = length.map_or(Some(0), |length| length.parse().ok())?;
        read_bytes(reader, length)
    }
}

impl Response {
    /// Creates a response without headers and body.
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Creates a response with status 200.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn bytes(&self, method: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Reason\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", self.body.len());
        let mut bytes = head.into_bytes();
        if method != "HEAD" {
            bytes.extend(&self.body);
        }
        bytes
    }
}

impl Wire<'_> {
    /// Writes bytes. Returns whether the client is still connected.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = self.0.write_all(bytes.as_ref());
        sent.and_then(|()| self.0.flush()).is_ok()
    }

    /// Waits until the client sends more, or closes the connection.
    pub(crate) fn wait_for_more(&mut self) {
        let _ = self.0.read(&mut [0]);
    }

    /// Waits until the client closes the connection.
    pub(crate) fn wait_for_close(&mut self) {
        let mut byte = [0];
        while self.0.read(&mut byte).is_ok_and(|read| read > 0) {}
    }
}

impl Authority {
    /// Creates an authority. Certificates contain its name, so each needs a different one.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Returns the authority's own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Returns a certificate for `name`, and its key.
    pub(crate) fn sign(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn identity(&self, name: &str) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign(name);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Returns whether the server still exists.
    fn accept(&self, connection: &TcpStream) -> bool {
        let mut seen = self.seen();
        if !seen.is_over {
            seen.connections.push(connection.try_clone().unwrap());
        }
        !seen.is_over
    }

    fn record(&self, request: Request) {
        self.seen().requests.push(request);
        self.changed.notify_all();
    }
}

fn keep_alive(answer: impl Fn(&Request) -> Response) -> impl Fn(&Request, &mut Wire<'_>) -> Next {
    move |request, wire| {
        let response = answer(request).bytes(&request.method);
        if wire.send(response) { Next::Keep } else { Next::Close }
    }
}

fn serve(
    connection: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    shared: &Shared,
    handler: &Handler,
) {
    let closing = connection.try_clone().unwrap();
    match tls {
        None => exchange(connection, shared, handler),
        Some(config) => {
            let tls = ServerConnection::new(config).unwrap();
            exchange(StreamOwned::new(tls, connection), shared, handler);
        }
    }
    // Otherwise the list of connections keeps it open.
    let _ = closing.shutdown(Shutdown::Both);
}

fn exchange(stream: impl Stream, shared: &Shared, handler: &Handler) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader) {
        shared.record(request.clone());
        match handler(&request, &mut Wire(reader.get_mut())) {
            Next::Keep => {}
            Next::Close => return,
        }
    }
}

fn read_chunks(reader: &mut BufReader<impl Read>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
        body.extend(read_bytes(reader, length)?);
        read_line(reader)?;
        if length == 0 {
            return Some(body);
        }
    }
}

fn read_bytes(reader: &mut BufReader<impl Read>, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Reads a line without its end, as Latin-1, as HTTP has it.
fn read_line(reader: &mut BufReader<impl Read>) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some(line.iter().copied().map(char::from).collect())
}

#[test]
fn server_answers_and_records_requests() {
    let server = Server::start(|request| Response::ok(request.body.clone()).header("x", "y"));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let ask = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    for count in 1..=2 {
        stream.write_all(ask).unwrap();
        let expected = "HTTP/1.1 200 Reason\r\nx: y\r\ncontent-length: 2\r\n\r\nhi";
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        server.wait_for_requests(count);
    }
    assert_eq!(server.connections(), 1);
    let request = &server.requests()[1];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a?b"));
    assert_eq!(request.header("host"), Some("h"));
}
