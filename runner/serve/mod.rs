//! `runner serve`: an HTTP API and a dashboard over a results root.
//!
//! The server owns nothing: everything that it shows is read from the results root at the time of the request, and the runs
//! that it starts are processes of their own. This room knows requests, documents of `view` and status codes; what a request
//! means is in `session`, with the same calls as the command line's.

mod access;
mod api;
mod connection;
mod events;
mod followed;
mod guard;
mod pages;
mod problem;
mod queue_news;
mod request;
mod root_watch;
mod scenarios;
mod server;
mod token;
mod upkeep;

use std::{io, path::PathBuf, sync::Arc, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tokio::sync::oneshot;

pub use self::api::openapi;
use self::{
    access::RequestAccess, connection::ServerListener, followed::FollowedRuns,
    root_watch::RootWatch, scenarios::KnownScenarios, server::Server,
};
pub use self::{connection::Listen, token::Token};
use crate::{record::RunMemory, session::Host};

/// What a server is started with.
pub struct ServeOptions {
    /// The results root.
    pub root: PathBuf,
    /// The folders whose scenarios it can start.
    pub scenarios: Vec<PathBuf>,
    /// Where it listens.
    pub listen: Listen,
    /// The names that it answers to, beside its address.
    pub hosts: Vec<String>,
    /// Whether nothing may be changed through it.
    pub is_read_only: bool,
    /// What whoever asks has to know; [`Listen::Unix`] needs none.
    pub token: Token,
    /// What the process offers to the use cases.
    pub host: Host,
}

/// Serves until the process is asked to end. `ready` hears what a browser opens, with a token that works once.
///
/// # Errors
///
/// Fails if the address cannot be listened on.
pub async fn serve(options: ServeOptions, ready: impl FnOnce(Option<&str>)) -> io::Result<()> {
    let ServeOptions {
        root,
        scenarios,
        listen,
        hosts,
        is_read_only,
        token,
        host,
    } = options;
    let listener = ServerListener::bind(&listen).await?;
    let access = RequestAccess::new(listener.address(), hosts, token, is_read_only)?;
    ready(access.link().as_deref());
    let runs = Arc::new(FollowedRuns::new(host.now));
    let counting = Arc::clone(&runs);
    let memory = Arc::new(RunMemory::new(move |dir| counting.counts(dir)));
    let root_watch = RootWatch::new(root.clone(), Arc::clone(&memory), host.now);
    let server = Arc::new(Server {
        root,
        scenarios,
        known: KnownScenarios::default(),
        access,
        runs,
        memory,
        host,
        root_watch: Arc::new(root_watch),
    });
    drop(tokio::spawn(upkeep::keep_in_order(Arc::clone(&server))));
    drop(tokio::spawn(upkeep::work_on_queue(Arc::clone(&server))));
    tokio::select! {
        served = listener.serve(api::router(server)) => served,
        () = asked_to_end() => Ok(()),
    }
}

/// Waits for the signal of a terminal, or of whoever manages services.
async fn asked_to_end() {
    let (sender, receiver) = oneshot::channel();
    let signals = Signals::new([SIGINT, SIGTERM]);
    if let Ok(mut signals) = signals {
        drop(thread::spawn(move || {
            if signals.forever().next().is_some() {
                // Nobody hears it where the server has ended by itself.
                let _ = sender.send(());
            }
        }));
        let _ = receiver.await;
    } else {
        // Then the signals do what they do by default, which is the same.
        std::future::pending::<()>().await;
    }
}
