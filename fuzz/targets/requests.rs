//! Bytes of a client of `runner serve`. The server answers with HTTP and without an internal error, and sends no document without
//! the token. If the first byte is 0, the rest is sent as it is. Otherwise the first byte selects the method of a request with the
//! token. Its target and its body follow, with the byte `0xff` between them.
#![no_main]

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use runner_serve::{BoundServer, Listen, ServeSettings};
use signal_hook::{consts::SIGPIPE, flag};
use tempfile::TempDir;

const RUN: &str = "2026-11-20_09-18-04-015-basic-6ba42b73";
const MANIFEST: &str = include_str!("../../runner/record/src/run/tests/manifest.json");
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];
/// Longer than any answer takes. A stream of events ends when its client disconnects.
const TIMEOUT: Duration = Duration::from_secs(60);

// A resume would start a process of the fuzzer's program, so the server with a run refuses changes.
static READER: LazyLock<TestServer> = LazyLock::new(|| TestServer::start(true));
static WRITER: LazyLock<TestServer> = LazyLock::new(|| TestServer::start(false));

/// A server without scenarios, on a thread of its own.
struct TestServer {
    folder: TempDir,
    token: String,
}

impl TestServer {
    /// Starts a server. It has a run if it refuses changes.
    fn start(is_read_only: bool) -> Self {
        // The fuzzer has its own main function, so Rust does not ignore the signal.
        flag::register(SIGPIPE, Arc::default()).expect("the signal can be handled");
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let path = |name: &str| folder.path().join(name);
        if is_read_only {
            let run = path("results").join(RUN);
            fs::create_dir_all(&run).expect("folders can be created");
            let files = [("benchmark.json", MANIFEST), ("index.jsonl", ""), ("runner.log", "")];
            for (name, text) in files {
                fs::write(run.join(name), text).expect("files can be written");
            }
        }
        let server = BoundServer::bind(ServeSettings {
            root: path("results"),
            scenarios: Vec::new(),
            listen: Listen::File(path("socket")),
            is_read_only,
            hosts: Vec::new(),
            allows_writes: false,
            token_file: Some(path("token")),
        });
        let server = server.expect("the server has its socket");
        let token = fs::read_to_string(path("token")).expect("the token is in its file");
        thread::spawn(move || server.run(|_| {}));
        Self { token: token.trim().to_owned(), folder }
    }

    /// Returns a request. `None` if the target has a space or a control character.
    fn request(&self, method: &str, input: &[u8]) -> Option<Vec<u8>> {
        let mut parts = input.splitn(2, |byte| *byte == 0xff);
        let mut part = || parts.next().unwrap_or_default();
        let (target, body) = (part(), part());
        if target.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
            return None;
        }
        let head = format!(
            " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len(),
        );
        Some([method.as_bytes(), b" ", target, head.as_bytes(), body].concat())
    }

    /// Sends bytes. Returns the head of the first answer, or an empty text if the server closes the connection without one. Unless
    /// the bytes are a whole request, closes the sending side, so that the server does not wait for the rest.
    fn send(&self, bytes: &[u8], is_whole: bool) -> io::Result<String> {
        let mut stream = uninterrupted(|| UnixStream::connect(self.folder.path().join("socket")))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        if !is_whole {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = match uninterrupted(|| stream.read(&mut piece)) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error),
            };
            answer.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                return Ok(head.to_lowercase());
            }
            if count == 0 {
                return Ok(text.into_owned());
            }
        }
    }
}

/// Repeats a call that the timer of libFuzzer interrupts.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, input)) = bytes.split_first() else { return };
    let method = METHODS[usize::from(choice % 4)];
    let is_raw = *choice == 0;
    let server = if choice % 4 < 2 { &*READER } else { &*WRITER };
    let sent = if is_raw { Some(input.to_vec()) } else { server.request(method, input) };
    let Some(sent) = sent else { return };
    let head = server.send(&sent, !is_raw).expect("the server answers");
    if is_raw && head.is_empty() {
        return;
    }
    let status = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5));
    let status: u16 = status.and_then(|status| status.parse().ok()).expect("it is HTTP");
    assert!((200..500).contains(&status) || [501, 503].contains(&status), "{head}");
    if is_raw && status < 300 {
        assert!(
            !head.contains("application/json") && !head.contains("text/event-stream"),
            "{head}"
        );
    }
    if status >= 300 && status != 400 {
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
});
