//! Requests of guests: what is granted and what is not, by which interface it may come, and servers that mean no good.

mod connections;
mod hosts;
mod limits;
mod requests;
mod secrets;

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::{
    engine::{Attempt, BENCH, Ended, Plugin, output},
    guests::guest,
    server::Server,
    web::WAYS,
};

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

/// A server that goes on with these bytes for as long as somebody reads them.
fn endless(beginning: &'static str, part: &'static str) -> Server {
    Server::raw(move |_, wire| {
        let mut is_there = wire.send(beginning);
        while is_there {
            is_there = wire.send(part);
        }
    })
}
