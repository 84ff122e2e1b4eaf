//! Requests of guests: what is granted and what is not, by which interface it may come, and servers that mean no good.

use std::{
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use runner::{
    model::{Denied, ErrorClass, Limits, NetGrant},
    plugin::{
        Access, Call, Ended, Ending, Engine, EngineOptions, Guard, Interrupt, Network, Plugin,
        PluginFile, Secrets,
    },
};
use serde_json::{Value, json};

use crate::support::{
    guests::guest,
    server::{Request, Response, Server, Wire},
};

const MIB: u64 = 1024 * 1024;
/// Longer than any of these tests takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);
/// How soon a guest that waits for a server must be gone.
const SOON: Duration = Duration::from_secs(5);
/// Both ways to send a request.
const WAYS: [&str; 2] = ["send", "wasi"];

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});
static WEB: LazyLock<Plugin> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(EngineOptions {
        compiler: env!("CARGO_BIN_EXE_runner").into(),
        cache: folder.path().join("cache"),
        compile_timeout: LONG,
    });
    let file = PluginFile::read(&guest("web"), 64 * MIB).unwrap();
    let plugin = RUNTIME.block_on(engine.unwrap().link(&file, &Interrupt::default()));
    plugin.unwrap()
});

/// A provider, as its attempts see it.
struct Bench {
    access: Access,
    limits: Limits,
    timeout: Duration,
    interrupt: Interrupt,
}

impl Bench {
    fn new(grants: &[&str]) -> Self {
        let grants = grants.iter().map(|grant| NetGrant::parse(grant).unwrap());
        Self {
            access: Access {
                net: Network::new(grants.collect()),
                ..Access::default()
            },
            limits: Limits::default(),
            timeout: LONG,
            interrupt: Interrupt::default(),
        }
    }

    fn with_secret(mut self, name: &str, value: &str) -> Self {
        let secret = (name.to_owned(), value.to_owned());
        self.access.secrets = Arc::new(Secrets::new([secret].into()));
        self
    }

    /// Runs one attempt that makes these requests, one after the other.
    fn run(&self, requests: &[Value]) -> Ended {
        let guard = Guard {
            deadline: Instant::now() + self.timeout,
            interrupt: self.interrupt.clone(),
        };
        let call = Call {
            trial: "a@web#1",
            test: "a",
            provider: "web",
            repeat: 1,
            attempt: 1,
            seed: 0,
            input: json!({ "requests": requests }).to_string().into(),
            config: "{}".into(),
            tags: [].into(),
            files: [].into(),
            invocation: None,
            limits: self.limits,
            access: &self.access,
            env: Vec::new(),
        };
        RUNTIME.block_on(WEB.run(call, &guard))
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
    match ended.ending {
        Ending::Reply(reply) => reply.output.as_array().unwrap().clone(),
        other => panic!("no reply: {other:?}\n{}", ended.stderr),
    }
}

fn get(url: impl Into<String>) -> Value {
    json!({ "url": url.into() })
}

#[track_caller]
fn assert_error(answer: &Value, kind: &str, text: &str) {
    assert_eq!(answer["error"], kind, "{answer}");
    assert_eq!(answer["text"], text, "{answer}");
}

#[track_caller]
fn assert_text(answer: &Value, kind: &str, part: &str) {
    assert_eq!(answer["error"], kind, "{answer}");
    assert!(answer["text"].as_str().unwrap().contains(part), "{answer}");
}

fn hello() -> Server {
    Server::start(|_| Response::ok("hello").header("x-answer", "caf\u{e9}"))
}

#[test]
fn a_granted_request_is_sent_and_its_response_comes_back() {
    let server = Server::start(|request| {
        assert_eq!(request.path, "/a%20b?c=d");
        Response::new(201)
            .header("x-one", "1")
            .body(request.body.clone())
    });
    let bench = Bench::new(&[&server.origin()]);
    for way in WAYS {
        let answer = bench.send(json!({
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

#[test]
fn connections_are_shared_by_the_attempts_of_a_provider_and_by_nobody_else() {
    let server = hello();
    let bench = Bench::new(&[&server.origin()]);
    for way in ["send", "wasi", "send"] {
        let request = json!({ "by": way, "url": server.url("/") });
        assert_eq!(bench.send(request)["status"], 200);
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 3));

    let other = Bench::new(&[&server.origin()]);
    assert_eq!(other.send(get(server.url("/")))["status"], 200);
    assert_eq!(server.connections(), 2);
}
