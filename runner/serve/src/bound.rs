//! [`BoundServer`]: a server with a bound address, its start, and its background threads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{convert::Infallible, ffi::c_int, sync::Arc, thread, time::Duration};

use runner_operations::queue::{self, Step};
use runner_operations::upkeep::Upkeep;
use runner_record::{ResultsRoot, now, sweep_every};

use crate::server::{Listen, ServeSettings, Server};
use crate::{guard::Guard, link_socket, listener::Listener, token::Token};

const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// A server with a bound address. It does not answer yet.
pub struct BoundServer {
    server: Arc<Server>,
    listener: Listener,
}

impl BoundServer {
    /// Reads or creates the token, and binds the address.
    ///
    /// # Errors
    ///
    /// The results root, the token's file or the address cannot be used.
    pub fn bind(settings: ServeSettings) -> Result<Self, String> {
        if let Listen::Address(address) = &settings.listen
            && settings.hosts.is_empty()
        {
            check_address(*address)?;
        }
        let token =
            settings.token_file.as_deref().map_or_else(|| Ok(Token::random()), Token::of_file)?;
        let listener = Listener::bind(&settings.listen)?;
        let server = Server::new(settings, listener.port(), token);
        let server = Arc::new(server.map_err(|error| error.to_string())?);
        Ok(Self { server, listener })
    }

    /// Returns a new link, which logs one browser in.
    pub fn link(&self) -> String {
        self.server.access.link()
    }

    /// Returns whether the server refuses every change.
    pub fn is_read_only(&self) -> bool {
        self.server.settings.is_read_only
    }

    /// Answers requests and maintains the root until the process ends. `print` gets problems of the maintenance.
    ///
    /// # Errors
    ///
    /// The runtime cannot start.
    pub fn run(self, print: fn(&str)) -> Result<Infallible, String> {
        return_large_blocks();
        let failed = |error| format!("cannot answer requests: {error}");
        let server = Arc::clone(&self.server);
        link_socket::listen(&self.server.settings.root, move || server.access.link());
        if !self.is_read_only() {
            start_background(&self.server.root, print);
        }
        // Calls that read files have threads of their own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let serving = self.listener.serve(Guard::new(self.server));
        runtime.and_then(|runtime| runtime.block_on(serving)).map_err(failed)
    }
}

/// Checks the address of a server without `--allow-host`.
fn check_address(address: SocketAddr) -> Result<(), String> {
    let ip = address.ip();
    let port = address.port();
    if !ip.is_loopback() {
        return Err(format!(
            "other machines could reach `{address}`\n\
             add `--allow-host NAME` with the name by which they may reach it, and read \
             `runner help serve`"
        ));
    }
    if ![IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&ip) {
        return Err(format!(
            "browsers do not find `{address}` by the name at which they log in\n\
             use `--listen 127.0.0.1:{port}`"
        ));
    }
    Ok(())
}

/// Starts the threads of a server that may change its root. There are two, because upkeep may wait for receivers of notifications,
/// and the queue must not. `print` gets each problem.
fn start_background(root: &ResultsRoot, print: fn(&str)) {
    let first = root.clone();
    let second = root.clone();
    let threads: [(_, Box<dyn FnOnce() + Send>); 2] = [
        ("upkeep", Box::new(move || maintain(first, print))),
        ("queue", Box::new(move || start_requests(&second, print))),
    ];
    for (name, run) in threads {
        if let Err(error) = thread::Builder::new().name(name.into()).spawn(run) {
            print(&format!("the server cannot start its {name}: {error}"));
        }
    }
}

fn maintain(root: ResultsRoot, print: fn(&str)) {
    let mut upkeep = Upkeep::new(root);
    loop {
        upkeep.tick(now()).problems.iter().for_each(|problem| print(problem));
        thread::sleep(sweep_every());
    }
}

fn start_requests(root: &ResultsRoot, print: fn(&str)) {
    let mut last = String::new();
    loop {
        let problem = match queue::step(root) {
            Ok(Step::Started { .. }) => continue,
            Ok(Step::Refused { request, error } | Step::Postponed { request, error }) => {
                format!("request {}: {error}", request.id)
            }
            Ok(Step::Idle | Step::Busy { .. } | Step::Queued(_) | Step::Repeated(_)) => {
                String::new()
            }
            Err(error) => format!("queue: {error}"),
        };
        if problem != last && !problem.is_empty() {
            print(&problem);
        }
        last = problem;
        thread::sleep(QUEUE_INTERVAL);
    }
}

/// Makes large blocks return to the system when they are freed.
///
/// By default, glibc raises its threshold once a large block is freed, and later blocks stay in the heaps of their threads. With
/// 20 browsers that follow a run of 10^6 trials, the server then has 10 to 20 MB more.
fn return_large_blocks() {
    /// `M_MMAP_THRESHOLD` of `malloc.h`.
    const MMAP_THRESHOLD: c_int = -3;
    const LARGE: c_int = 256 << 10;

    #[expect(unsafe_code, reason = "declares a function of glibc, which takes any numbers")]
    unsafe extern "C" {
        safe fn mallopt(param: c_int, value: c_int) -> c_int;
    }
    // An allocator without this setting only uses more memory.
    let _ = mallopt(MMAP_THRESHOLD, LARGE);
}
