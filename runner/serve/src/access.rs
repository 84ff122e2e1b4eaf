//! [`Access`]: checks each request before any other code reads it.

use std::time::Instant;

use axum::http::{HeaderMap, Method, Uri, header, request::Parts};
use runner_record::now;
use url::{Host, Url};

use crate::api::{HttpProblem, ProblemKind};
use crate::login::{self, LOGIN_TIME, Logins, is_logged_in};
use crate::token::Token;

/// Bytes of a request's headers and address.
const MAX_HEADERS: usize = 32 << 10;
/// The key of a link's secret in the address of a page.
const LOGIN: &str = "login";

/// The call that exchanges the token for a link.
const LOGIN_PATH: &str = "/api/v1/login";

/// The secrets and the names of a server.
pub(crate) struct Access {
    /// The port. `None` for a socket file, which a tunnel may offer at any port.
    pub port: Option<u16>,
    /// Names of `--allow-host`.
    pub hosts: Vec<String>,
    pub token: Token,
    pub is_read_only: bool,
    /// The name below `localhost` at which browsers log in. Programs on other ports get no cookies, because they do not know the
    /// name.
    login_host: String,
    logins: Logins,
}

/// The server's name in a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HostName<'a> {
    /// The name of [`Access::login_host`].
    Login(&'a str),
    /// A name of `--allow-host`.
    Allowed(&'a str),
    /// Another name of this machine.
    Local,
}

impl<'a> HostName<'a> {
    /// Returns the name, if browsers can log in at it. At another one, other programs of the machine would get the cookie.
    fn login_name(self) -> Option<&'a str> {
        match self {
            Self::Login(name) | Self::Allowed(name) => Some(name),
            Self::Local => None,
        }
    }
}

impl Access {
    pub fn new(port: Option<u16>, hosts: Vec<String>, token: Token, is_read_only: bool) -> Self {
        // Random for each start: a program that had the port in between may have left a service worker at the old name.
        let login_host = format!("{}.localhost", &Token::random().text()[..16]);
        Self { port, hosts, token, is_read_only, login_host, logins: Logins::default() }
    }

    /// Returns a link that logs a browser in, at the first allowed name if there is one.
    pub fn link(&self) -> String {
        let host = self.hosts.first().unwrap_or(&self.login_host);
        self.link_at(&format!("http://{host}:{}", self.port.unwrap_or(7878)), "/", None)
    }

    fn link_at(&self, origin: &str, path: &str, query: Option<&str>) -> String {
        let secret = self.logins.link(Instant::now());
        let query = query.map(|query| format!("&{query}")).unwrap_or_default();
        format!("{origin}{path}?{LOGIN}={}{query}", secret.text())
    }

    /// Returns a link that logs in the browser with this page. `None` if the page is not of this server.
    pub fn link_of_page(&self, page: &str) -> Option<String> {
        let page = Url::parse(page).ok()?;
        let authority = page.as_str().split('/').nth(2)?;
        let origin = match self.host_name(authority)? {
            HostName::Allowed(_) => page.origin().ascii_serialization(),
            HostName::Login(_) | HostName::Local => {
                let port = page.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("http://{}{port}", self.login_host)
            }
        };
        Some(self.link_at(&origin, page.path(), page.query()))
    }

    /// Uses the link of a request. Returns the address without its secret, and the cookie if the link was valid. `None` if the
    /// request has no link.
    pub fn redeem(&self, request: &Parts) -> Option<(String, Option<String>)> {
        let secret = request.uri.query()?.strip_prefix(LOGIN)?.strip_prefix('=')?;
        let (secret, rest) = secret.split_once('&').unwrap_or((secret, ""));
        let mark = if rest.is_empty() { "" } else { "?" };
        // Browsers read two slashes at the start as the name of another server.
        let path = request.uri.path().trim_start_matches(['/', '\\']);
        let address = format!("/{path}{mark}{rest}");
        let host = self.host(request).ok().filter(|_| request.method == Method::GET);
        let host = host.and_then(|host| Some((host, host.login_name()?)));
        let host = host.filter(|_| self.logins.redeem(secret, Instant::now()));
        let cookie = host.map(|(host, name)| {
            let cookie = login::cookie(&self.token, name, now());
            // A name below `localhost` ends with the server.
            let age = match host {
                HostName::Allowed(_) => format!("; Max-Age={}", LOGIN_TIME.as_secs()),
                _ => String::new(),
            };
            format!("{}={cookie}; HttpOnly; SameSite=Strict; Path=/{age}", self.cookie_name())
        });
        Some((address, cookie))
    }

    /// Checks a request. Returns whether it has the token or a valid cookie.
    pub fn check(&self, request: &Parts) -> Result<bool, HttpProblem> {
        let headers = &request.headers;
        let path = request.uri.path();
        let bytes: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if bytes + target > MAX_HEADERS {
            let detail = "the headers of the request are larger than 32 KiB";
            return Err(HttpProblem::new(ProblemKind::HEADERS, detail));
        }
        let host = self.host(request)?;
        let is_write = match request.method {
            Method::GET | Method::HEAD => false,
            Method::POST | Method::DELETE => true,
            _ => return Err(HttpProblem::method()),
        };
        self.check_site(headers, is_write || !is_page(path))?;
        let is_authenticated = self.is_authenticated(headers, host, is_write);
        let is_login = path == LOGIN_PATH;
        if !is_authenticated && is_api(path) && !is_login {
            let help =
                "open a link of `runner serve --link`, or send `Authorization: Bearer TOKEN`";
            let detail = "the request has no valid token or login";
            return Err(HttpProblem::new(ProblemKind::UNAUTHORIZED, detail).with_help(help));
        }
        if is_write && self.is_read_only && !is_login {
            let problem = HttpProblem::new(ProblemKind::READ_ONLY, "the server is read-only");
            return Err(problem.with_help("use a terminal, or read `runner help serve`"));
        }
        // Pages of other sites can send forms without a preflight, but not JSON.
        if is_write && !is_json(headers) {
            let problem = HttpProblem::new(ProblemKind::MEDIA_TYPE, "the request is not JSON");
            return Err(problem.with_help("send `Content-Type: application/json`"));
        }
        Ok(is_authenticated)
    }

    /// Checks the names of the server in a request. A site with a name that resolves to this machine could read the answers.
    fn host(&self, request: &Parts) -> Result<HostName<'_>, HttpProblem> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| self.host_name(host.to_str().ok()?));
        let is_same =
            |uri: &Uri| uri.authority().is_none_or(|name| self.host_name(name.as_str()) == host);
        let host = host.filter(|_| hosts.next().is_none() && is_same(&request.uri));
        host.ok_or_else(|| {
            HttpProblem::new(ProblemKind::HOST, "the request is for another host or port")
                .with_help("`runner serve --allow-host NAME` allows another name")
        })
    }

    fn host_name(&self, host: &str) -> Option<HostName<'_>> {
        if host.contains(['@', '/', '?', '#', '\\']) {
            return None;
        }
        let url = Url::parse(&format!("http://{host}/")).ok()?;
        let name = url.host_str()?;
        // A proxy with this name has a port of its own.
        if let Some(allowed) = self.hosts.iter().find(|host| host.eq_ignore_ascii_case(name)) {
            return Some(HostName::Allowed(allowed));
        }
        if self.port.is_some_and(|port| url.port_or_known_default() != Some(port)) {
            return None;
        }
        match url.host()? {
            Host::Domain(name) if name == self.login_host => {
                Some(HostName::Login(&self.login_host))
            }
            // Browsers resolve all names below `localhost` themselves, so no DNS server can lead them here.
            Host::Domain(name) if name == "localhost" || name.ends_with(".localhost") => {
                Some(HostName::Local)
            }
            Host::Ipv4(address) if address.is_loopback() => Some(HostName::Local),
            Host::Ipv6(address) if address.is_loopback() => Some(HostName::Local),
            _ => None,
        }
    }

    /// Checks the page that sends a request: `SameSite` of a cookie does not stop pages on other ports of this machine. Links
    /// from other sites to pages are allowed.
    fn check_site(&self, headers: &HeaderMap, is_data: bool) -> Result<(), HttpProblem> {
        let is_navigation = text(headers, "sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        let is_other_site = (is_data || !is_navigation)
            && text(headers, "sec-fetch-site").is_some_and(|site| !is_same_site(site));
        let host = text(headers, "host");
        let is_other_origin = text(headers, "origin").is_some_and(|origin| {
            origin.strip_prefix("http://").or(origin.strip_prefix("https://")) != host
        });
        if !is_other_site && !is_other_origin {
            return Ok(());
        }
        let detail = "the request comes from a page of another server";
        Err(HttpProblem::new(ProblemKind::FOREIGN, detail)
            .with_help("send it from a page of this server, or from a program with the token"))
    }

    fn is_authenticated(&self, headers: &HeaderMap, host: HostName<'_>, is_write: bool) -> bool {
        if let Some(value) = text(headers, "authorization") {
            return value.strip_prefix("Bearer ").is_some_and(|token| self.token.is(token));
        }
        let is_from_page = match text(headers, "sec-fetch-site") {
            Some(site) => is_same_site(site),
            // Over HTTP, browsers send this header only to their own machine. `SameSite` stops other sites, which could not read
            // the answer anyway.
            None => {
                matches!(host, HostName::Allowed(_))
                    && (!is_write || headers.contains_key(header::ORIGIN))
            }
        };
        let Some(host) = host.login_name().filter(|_| is_from_page) else { return false };
        let name = self.cookie_name();
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split("; ")).filter_map(|one| one.split_once('='));
        pairs.any(|(key, value)| key == name && is_logged_in(&self.token, host, value, now()))
    }

    /// Returns the cookie's name. All ports share cookies, and two servers must not replace each other's.
    fn cookie_name(&self) -> String {
        format!("runner-{}", self.port.unwrap_or_default())
    }
}

pub(crate) fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

pub(crate) fn is_page(path: &str) -> bool {
    !is_api(path) && !path.starts_with("/web/")
}

/// Returns the value of a header. `?` for a value that is not text: it matches no expected value.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn is_same_site(site: &str) -> bool {
    matches!(site, "same-origin" | "none")
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = text(headers, "content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}
