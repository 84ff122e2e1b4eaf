//! [`RequestAccess`]: who may ask what. Everything here is decided before a request is looked at in any other way.

use std::net::SocketAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use url::Host;

use super::{
    pages,
    problem::HttpProblem,
    token::{LoginLink, Token},
};

/// The parameter of a link that logs a browser in.
const LOGIN: &str = "login";
/// Who may ask what.
pub(super) struct RequestAccess {
    /// Where the server listens; none for a socket that is a file: whoever can open it is its owner.
    address: Option<SocketAddr>,
    /// The names that it answers to beside its address.
    hosts: Vec<String>,
    token: Token,
    link: LoginLink,
    is_read_only: bool,
}

impl RequestAccess {
    pub(super) fn new(
        address: Option<SocketAddr>,
        hosts: Vec<String>,
        token: Token,
        is_read_only: bool,
    ) -> std::io::Result<Self> {
        Ok(Self {
            address,
            hosts,
            link: LoginLink::new(Token::random()?),
            token,
            is_read_only,
        })
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// What a browser opens; none for a socket that is a file.
    pub(super) fn link(&self) -> Option<String> {
        let address = self.address?;
        Some(format!("http://{address}/?{LOGIN}={}", self.link.text()))
    }

    /// Refuses what is not for this server, comes from another site, or from nobody who may.
    pub(super) fn check(&self, request: &Request) -> Result<(), HttpProblem> {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        let is_api = path.starts_with("/api/");
        self.check_host(headers)?;
        let is_write = match *method {
            Method::GET | Method::HEAD => false,
            Method::POST | Method::DELETE => true,
            _ => return Err(no_method()),
        };
        let is_page = !is_api && !is_write && pages::is_page(path);
        self.check_site(headers, is_page)?;
        if is_api && !self.is_known(headers) {
            return Err(HttpProblem::new(
                StatusCode::UNAUTHORIZED,
                "/problems/unauthorized",
                "this needs a token",
                "the request has no token of this server",
            )
            .with_help("open the link that `runner serve` has printed, or send its token as `Authorization: Bearer`"));
        }
        if !is_write {
            return Ok(());
        }
        if self.is_read_only {
            return Err(HttpProblem::new(
                StatusCode::FORBIDDEN,
                "/problems/read-only",
                "nothing can be changed here",
                "the server is read-only",
            ));
        }
        // A browser says where a request comes from, and a program has the token: what has neither is neither.
        let is_told = ["origin", "sec-fetch-site", "authorization"]
            .iter()
            .any(|name| headers.contains_key(*name));
        if self.address.is_some() && !is_told {
            return Err(foreign());
        }
        if !is_json(headers) {
            return Err(HttpProblem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "/problems/media-type",
                "a request to change something is JSON",
                "the request has another media type",
            )
            .with_help("send `Content-Type: application/json`"));
        }
        Ok(())
    }

    /// A name that leads to this machine is not this server: pages of that name could read what it answers.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), HttpProblem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let is_ours = host.is_some_and(|host| self.is_ours(host)) && hosts.next().is_none();
        if is_ours {
            return Ok(());
        }
        let answers = match self.address {
            Some(address) => format!("the server answers at `{address}`"),
            None => "the server answers at `localhost`".to_owned(),
        };
        Err(HttpProblem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "/problems/host",
            "the server has another name",
            answers,
        )
        .with_help("`runner serve --allow-host NAME` lets it answer to another name"))
    }

    fn is_ours(&self, host: &str) -> bool {
        let Ok(url) = url::Url::parse(&format!("http://{host}/")) else {
            return false;
        };
        // What is more than a name and a port is nothing that a browser sends.
        if host.contains(['@', '/', '?', '#', '\\']) {
            return false;
        }
        let is_allowed = |name: &str| {
            self.hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(name))
        };
        // A proxy in front of a name that was allowed has a port of its own.
        if url.host_str().is_some_and(is_allowed) {
            return true;
        }
        let port = self.address.map(|address| address.port());
        let is_port = port.is_none_or(|port| url.port_or_known_default() == Some(port));
        let is_here = match url.host() {
            Some(Host::Ipv4(ip)) => {
                ip.is_loopback() || self.address.is_some_and(|at| at.ip() == ip)
            }
            Some(Host::Ipv6(ip)) => {
                ip.is_loopback() || self.address.is_some_and(|at| at.ip() == ip)
            }
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        is_port && is_here
    }

    /// `SameSite` of a cookie does not keep another port of this machine away, so the browser is asked where a request comes
    /// from. A link to a page may stand anywhere.
    fn check_site(&self, headers: &HeaderMap, is_page: bool) -> Result<(), HttpProblem> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let is_link = is_page && text("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        let is_foreign_site = !is_link
            && text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
        let is_foreign_origin = text("origin").is_some_and(|origin| {
            let host = origin
                .strip_prefix("http://")
                .or(origin.strip_prefix("https://"));
            host.is_none_or(|host| !self.is_ours(host))
        });
        match is_foreign_site || is_foreign_origin {
            true => Err(foreign()),
            false => Ok(()),
        }
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        if self.address.is_none() {
            return true;
        }
        let bearer = headers.get(header::AUTHORIZATION);
        let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if let Some(bearer) = bearer {
            return self.token.is(bearer);
        }
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter();
        cookies
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split("; "))
            .filter_map(|cookie| cookie.split_once('='))
            .any(|(key, value)| key == name && self.token.is(value))
    }

    /// Cookies do not know ports, and two servers must not log each other's browsers out.
    fn cookie_name(&self) -> String {
        format!(
            "runner-{}",
            self.address.map_or(0, |address| address.port())
        )
    }

    /// Sends a browser elsewhere: from the link to the page without its secret, and from `localhost` to the address, so that
    /// there is one origin and one cookie.
    pub(super) fn redirect(&self, request: &Request) -> Option<Response> {
        let address = self.address?;
        if *request.method() != Method::GET || !pages::is_page(request.uri().path()) {
            return None;
        }
        let host = request.headers().get(header::HOST)?.to_str().ok()?;
        if host.starts_with("localhost") && address.ip().is_loopback() {
            let rest = request
                .uri()
                .path_and_query()
                .map_or("/", |rest| rest.as_str());
            let to = HeaderValue::from_str(&format!("http://{address}{rest}")).ok()?;
            return Some(
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
            );
        }
        let secret = request
            .uri()
            .query()?
            .strip_prefix(LOGIN)?
            .strip_prefix('=')?;
        let to = HeaderValue::from_str(request.uri().path()).ok()?;
        let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
        if self.link.redeem(secret) {
            let (name, token) = (self.cookie_name(), self.token.text());
            let cookie = format!("{name}={token}; HttpOnly; SameSite=Strict; Path=/");
            let cookie = HeaderValue::from_str(&cookie).ok()?;
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Some(response)
    }
}

fn foreign() -> HttpProblem {
    HttpProblem::new(
        StatusCode::FORBIDDEN,
        "/problems/foreign-origin",
        "the request comes from elsewhere",
        "only pages of this server and programs with its token may send it",
    )
}

fn no_method() -> HttpProblem {
    HttpProblem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "/problems/method",
        "this cannot be done with it",
        "there is no such call",
    )
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim() == "application/json"
}
