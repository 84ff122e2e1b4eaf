//! [`BoundServer`]: a server with a bound address, and its start.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::guard::Guard;
use crate::listener::Listener;
use crate::server::Server;
use crate::settings::{Listen, ServeError, ServeSettings};
use crate::token::Token;
use crate::{background, link_socket, memory};

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
    pub fn bind(settings: ServeSettings) -> Result<Self, ServeError> {
        if let Listen::Address(address) = &settings.listen
            && settings.hosts.is_empty()
        {
            check_address(*address)?;
        }
        let token =
            settings.token_file.as_deref().map_or_else(|| Ok(Token::random()), Token::of_file)?;
        let listener = Listener::bind(&settings.listen)?;
        let server = Server::new(settings, listener.port(), token);
        let server = Arc::new(server.map_err(|error| ServeError(error.to_string()))?);
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
    pub fn run(self, print: fn(&str)) -> Result<Infallible, ServeError> {
        memory::return_large_blocks();
        let failed = |error| ServeError(format!("cannot answer requests: {error}"));
        let server = Arc::clone(&self.server);
        link_socket::listen(&self.server.settings.root, move || server.access.link());
        if !self.is_read_only() {
            background::start(&self.server.root, print);
        }
        // Calls that read files have threads of their own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let serving = self.listener.serve(Guard::new(self.server));
        runtime.and_then(|runtime| runtime.block_on(serving)).map_err(failed)
    }
}

/// Checks the address of a server without `--allow-host`.
fn check_address(address: SocketAddr) -> Result<(), ServeError> {
    let (ip, port) = (address.ip(), address.port());
    if !ip.is_loopback() {
        return Err(ServeError(format!(
            "other machines could reach `{address}`\n\
             add `--allow-host NAME` with the name by which they may reach it, and read \
             `runner help serve`"
        )));
    }
    if ![IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&ip) {
        return Err(ServeError(format!(
            "browsers do not find `{address}` by the name at which they log in\n\
             use `--listen 127.0.0.1:{port}`"
        )));
    }
    Ok(())
}
