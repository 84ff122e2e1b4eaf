//! [`Attacker`]: sees all messages of a broker, and publishes others. [`bridge`]: connects two brokers.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use runner_model::digest;
use serde_json::{Value, json};

use super::network::{Broker, Client, RawMessage};
use super::support::wait::wait_for;

/// Users of a broker, each with the password `p`. `workers` and `others` have the permissions that docs/workers.md gave to
/// workers before runs were signed.
const USERS: &str = r#"
runs = { publish: [ "runner.>", "$KV.runner-offers.>", "$O.runner-blobs.>", "$JS.>", "_INBOX.>" ] }
workers = {
  publish: {
    allow: [ "runner.>", "$KV.runner-workers.>", "$JS.API.>", "$JS.ACK.>", "_INBOX.>" ]
    deny: [ "$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.MSG.DELETE.>" ]
  }
}
authorization {
  users: [
    { user: all, password: p }
    { user: runs, password: p, permissions: $runs }
    { user: workers, password: p, permissions: $workers }
    { user: others, password: p, permissions: $workers }
  ]
}
"#;

/// Subjects that `workers` may publish on, and those on which a broker publishes the messages again.
const RELAYS: [(&str, &str); 2] =
    [("runner.offers.", "$KV.runner-offers."), ("runner.blobs.", "$O.runner-blobs.")];

/// Starts a broker with [`USERS`].
pub(crate) fn broker_with_users() -> Broker {
    Broker::with(USERS)
}

/// Returns the address of a broker for one of [`USERS`].
pub(crate) fn address(broker: &Broker, user: &str) -> String {
    format!("nats://{user}:p@127.0.0.1:{}", broker.port)
}

/// Subject for the answers to requests of an attacker.
pub(crate) const EVIL: &str = "_INBOX.evil";

/// Rights of an attacker at a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The rights of `workers`. The broker publishes messages on other subjects for such a user.
    Workers,
    All,
}

impl Rights {
    pub(crate) const EACH: [Self; 2] = [Self::Workers, Self::All];

    pub(crate) fn login(self, broker: &Broker) -> Publisher {
        let user = if self == Self::All { "all" } else { "workers" };
        Publisher { rights: self, client: Client::login(broker, user) }
    }
}

/// A connection for messages of an attacker.
pub(crate) struct Publisher {
    rights: Rights,
    pub(crate) client: Client,
}

impl Publisher {
    /// Publishes a message, or has the broker publish it.
    pub(crate) fn put(&mut self, message: &RawMessage) {
        let mut relays = RELAYS.iter().filter(|_| self.rights == Rights::Workers);
        let subject = relays.find_map(|(relay, target)| {
            Some(format!("{relay}{}", message.subject.strip_prefix(target)?))
        });
        let subject = subject.unwrap_or_else(|| message.subject.clone());
        self.client.put(&RawMessage { subject, ..message.clone() });
    }

    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.put(&RawMessage::new(subject, payload));
    }
}

/// A user of a broker who receives every message.
pub(crate) struct Attacker {
    pub(crate) publisher: Publisher,
    seen: Arc<Mutex<Vec<RawMessage>>>,
}

impl Attacker {
    pub(crate) fn at(broker: &Broker, rights: Rights) -> Self {
        Self::reacting(broker, rights, |_, _| {})
    }

    /// Calls `react` for each message of others at once.
    pub(crate) fn reacting(
        broker: &Broker,
        rights: Rights,
        mut react: impl FnMut(&RawMessage, &mut Publisher) + Send + 'static,
    ) -> Self {
        let mut publisher = rights.login(broker);
        for (relay, target) in RELAYS.iter().filter(|_| rights == Rights::Workers) {
            let name = relay.replace('.', "-");
            let [relay, target] = [relay, target].map(|subject| format!("{subject}>"));
            publisher.call(
                &format!("STREAM.CREATE.{name}"),
                &json!({"name": name, "subjects": [relay], "storage": "memory",
                    "allow_rollup_hdrs": true, "republish": {"src": relay, "dest": target}}),
            );
        }
        let (seen, mut watcher) = (Arc::<Mutex<Vec<RawMessage>>>::default(), rights.login(broker));
        let all = Arc::clone(&seen);
        watcher.client.subscribe(">");
        thread::spawn(move || {
            while let Some(message) = watcher.client.receive() {
                react(&message, &mut watcher);
                all.lock().unwrap().push(message);
            }
        });
        Self { publisher, seen }
    }

    /// Returns the messages so far.
    pub(crate) fn seen(&self, is_wanted: impl Fn(&RawMessage) -> bool) -> Vec<RawMessage> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|message| is_wanted(message)).cloned().collect()
    }

    /// Waits for a message.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        what: &str,
        is_wanted: impl Fn(&RawMessage) -> bool,
    ) -> RawMessage {
        wait_for(&format!("the attacker sees {what}"), || self.seen(&is_wanted).pop())
    }

    /// Waits for the offer of a session that is not in `known`.
    #[track_caller]
    pub(crate) fn wait_for_offer(&self, known: &[&str]) -> SeenOffer {
        wait_for("the attacker sees an offer", || {
            let mut offers = self.offers().into_iter();
            offers.find(|offer| !offer.is_over() && !known.contains(&&*offer.token))
        })
    }

    fn offers(&self) -> Vec<SeenOffer> {
        let offers = self.seen(|message| message.subject.starts_with("$KV.runner-offers."));
        offers.iter().filter_map(SeenOffer::parse).collect()
    }

    /// Returns the requests of workers to join the session `token`.
    pub(crate) fn joins(&self, token: &str) -> Vec<RawMessage> {
        let start = format!("runner.join.{token}.");
        self.seen(|message| message.subject.starts_with(&start) && message.reply != EVIL)
    }

    /// Returns the messages of a session so far.
    pub(crate) fn record(&self, offer: &SeenOffer) -> Recorded {
        let is_end = |end: &SeenOffer| end.token == offer.token && end.is_over();
        let joins = self.joins(&offer.token);
        let is_answer =
            |message: &RawMessage| joins.iter().any(|join| join.reply == message.subject);
        let answers = self.seen(|message| is_answer(message) && !message.payload.is_empty());
        let links = joins.iter().map(|join| {
            let link = link_of(join);
            let start = format!("runner.link.{link}.");
            let pieces = self.seen(|message| message.subject.starts_with(&start));
            SeenLink { link, pieces }
        });
        let (links, end) = (links.collect(), self.offers().into_iter().find(is_end));
        Recorded { offer: offer.clone(), end, answers, links, joins }
    }
}

impl Publisher {
    /// Calls JetStream.
    #[track_caller]
    pub(crate) fn call(&mut self, call: &str, request: &Value) -> Value {
        let response = self.client.request(&format!("$JS.API.{call}"), request);
        assert!(response.get("error").is_none(), "{call}: {response}");
        response
    }
}

/// An offer or the end of one, as an attacker sees it.
#[derive(Clone, Debug)]
pub(crate) struct SeenOffer {
    pub(crate) token: String,
    pub(crate) signed: Value,
}

impl SeenOffer {
    pub(crate) fn parse(message: &RawMessage) -> Option<Self> {
        let signed: Value = serde_json::from_slice(&message.payload).ok()?;
        signed["document"].as_str()?;
        let token = message.subject.rsplit('.').next()?.to_owned();
        Some(Self { token, signed })
    }

    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(self.signed["document"].as_str().unwrap()).unwrap()
    }

    pub(crate) fn signature(&self) -> &Value {
        &self.signed["signature"]
    }

    pub(crate) fn is_over(&self) -> bool {
        self.document()["is_over"] == true
    }

    /// Returns the document with this signature.
    pub(crate) fn with(&self, signature: &Value) -> String {
        json!({"document": self.signed["document"], "signature": signature}).to_string()
    }

    /// Returns the end of the session, with this signature.
    pub(crate) fn end(&self, signature: &Value) -> String {
        let mut document = self.document();
        document["is_over"] = true.into();
        json!({"document": document.to_string(), "signature": signature}).to_string()
    }
}

/// A link, and its messages in both directions.
pub(crate) struct SeenLink {
    pub(crate) link: String,
    pub(crate) pieces: Vec<RawMessage>,
}

/// A session as an attacker has seen it.
pub(crate) struct Recorded {
    pub(crate) offer: SeenOffer,
    /// The signed end. `None` if the session has not ended.
    pub(crate) end: Option<SeenOffer>,
    pub(crate) joins: Vec<RawMessage>,
    pub(crate) answers: Vec<RawMessage>,
    pub(crate) links: Vec<SeenLink>,
}

/// Returns the token of the link that a request to join opens.
pub(crate) fn link_of(join: &RawMessage) -> String {
    digest(&join.payload).to_string()[..32].to_owned()
}

/// Returns an answer to a request to join, with this signature.
pub(crate) fn answer(join: &RawMessage, problem: Option<&str>, signature: &Value) -> RawMessage {
    let document = json!({"v": 1, "join": digest(&join.payload).to_string(), "key": vec![9; 32],
        "problem": problem});
    let answer = json!({"document": document.to_string(), "signature": signature});
    RawMessage::new(&*join.reply, answer.to_string())
}

/// Passes a session of one broker on to the workers of another one: its links, its blobs and, if `has_offers`, its offers.
pub(crate) fn bridge(from: &Broker, to: &Broker, rights: Rights, has_offers: bool) {
    let pass = |from: &Broker, mut to: Publisher, is_passed: fn(&str, bool) -> bool| {
        let mut from = Rights::All.login(from);
        from.client.subscribe(">");
        thread::spawn(move || {
            while let Some(message) = from.client.receive() {
                if is_passed(&message.subject, has_offers) {
                    to.put(&message);
                }
            }
        });
    };
    pass(from, rights.login(to), |subject, has_offers| {
        subject.starts_with("$KV.runner-offers.") && has_offers
            || subject.starts_with("$O.runner-blobs.")
            || subject.starts_with("_INBOX.")
            || subject.starts_with("runner.link.") && subject.ends_with(".down")
    });
    pass(to, Rights::All.login(from), |subject, _| {
        subject.starts_with("runner.join.")
            || subject.starts_with("runner.link.") && subject.ends_with(".up")
    });
}
