//! [`Logins`]: links that log one browser in, and the browsers that are logged in. All of them end with the server.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::token::Token;

/// Time in which a link can be used.
pub(crate) const LINK_TIME: Duration = Duration::from_secs(5 * 60);
/// Links that wait for a browser. The oldest ends first.
const MAX_LINKS: usize = 16;
/// Browsers that are logged in. The oldest ends first.
const MAX_BROWSERS: usize = 64;

#[derive(Default)]
pub(crate) struct Logins(Mutex<Secrets>);

#[derive(Default)]
struct Secrets {
    links: VecDeque<(Token, Instant)>,
    /// A secret for each login. Never the token, because browsers send cookies to every port of a name.
    browsers: VecDeque<Token>,
}

impl Logins {
    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the secret of a link.
    pub fn link(&self, now: Instant) -> Token {
        let token = Token::random();
        let mut secrets = self.secrets();
        secrets.links.push_back((token.clone(), now + LINK_TIME));
        if secrets.links.len() > MAX_LINKS {
            secrets.links.pop_front();
        }
        token
    }

    /// Uses a link. Returns the secret of the browser's cookie. `None` if the link is unknown, used or too old.
    pub fn redeem(&self, secret: &str, now: Instant) -> Option<Token> {
        let mut secrets = self.secrets();
        secrets.links.retain(|(_, end)| now < *end);
        let place = secrets.links.iter().position(|(token, _)| token.is(secret))?;
        secrets.links.remove(place);
        let browser = Token::random();
        secrets.browsers.push_back(browser.clone());
        if secrets.browsers.len() > MAX_BROWSERS {
            secrets.browsers.pop_front();
        }
        Some(browser)
    }

    /// Returns whether this is the secret of a browser's cookie.
    pub fn has_browser(&self, secret: &str) -> bool {
        self.secrets().browsers.iter().any(|token| token.is(secret))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{LINK_TIME, Logins, MAX_LINKS};

    #[test]
    fn links_work_once_and_within_their_time() {
        let (logins, now) = (Logins::default(), Instant::now());
        let link = logins.link(now);
        let browser = logins.redeem(link.text(), now).unwrap();
        assert!(logins.has_browser(browser.text()));
        assert!(!logins.has_browser(link.text()));
        assert!(logins.redeem(link.text(), now).is_none());
        let late = logins.link(now);
        assert!(logins.redeem(late.text(), now + LINK_TIME).is_none());
    }

    #[test]
    fn new_links_end_the_oldest() {
        let (logins, now) = (Logins::default(), Instant::now());
        let links: Vec<_> = (0..=MAX_LINKS).map(|_| logins.link(now)).collect();
        let mut redeemed = links.iter().map(|link| logins.redeem(link.text(), now).is_some());
        assert_eq!(redeemed.next(), Some(false));
        assert!(redeemed.all(|is_redeemed| is_redeemed));
    }
}
