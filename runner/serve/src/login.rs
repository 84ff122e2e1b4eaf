//! [`Logins`]: links that log one browser in. [`cookie`]: the cookie of a browser that is logged in.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runner_model::Time;
use runner_record::sign_login;

use crate::token::Token;

/// Time in which a link can be used.
pub(crate) const LINK_TIME: Duration = Duration::from_secs(5 * 60);
/// Time in which a browser stays logged in.
pub(crate) const LOGIN_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Links that wait for a browser. The oldest ends first.
const MAX_LINKS: usize = 16;

/// The secrets of links that wait for a browser, with their ends.
#[derive(Default)]
pub(crate) struct Logins(Mutex<VecDeque<(Token, Instant)>>);

impl Logins {
    /// Creates the secret of a link.
    pub fn link(&self, now: Instant) -> Token {
        let token = Token::random();
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.push_back((token.clone(), now + LINK_TIME));
        if links.len() > MAX_LINKS {
            links.pop_front();
        }
        token
    }

    /// Uses a link. Returns `false` if the link is unknown, used or too old.
    pub fn redeem(&self, secret: &str, now: Instant) -> bool {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, end)| now < *end);
        let place = links.iter().position(|(token, _)| token.is(secret));
        place.and_then(|place| links.remove(place)).is_some()
    }
}

/// Creates the cookie of a browser that logs in at a name: a random id, the second in which the login ends, and a signature by the
/// server's token. Later servers with the same token and name accept it, so the server keeps no state. It is never the token,
/// because browsers send cookies to every port of a name.
pub(crate) fn cookie(token: &Token, name: &str, now: Time) -> String {
    let end = (now + LOGIN_TIME).as_millis() / 1000;
    let login = format!("{}.{end}", Token::random().text());
    let signature = signature(token, name, &login);
    format!("{login}.{}", signature.text())
}

/// Returns whether a browser with this cookie is logged in at a name.
pub(crate) fn is_logged_in(token: &Token, name: &str, cookie: &str, now: Time) -> bool {
    let Some((login, signed)) = cookie.rsplit_once('.') else { return false };
    let end = login.rsplit_once('.').and_then(|(_, end)| end.parse::<i64>().ok());
    signature(token, name, login).is(signed) && end.is_some_and(|end| now.as_millis() / 1000 < end)
}

fn signature(token: &Token, name: &str, login: &str) -> Token {
    // A name has no space.
    let login = format!("{} {login}", name.to_ascii_lowercase());
    Token::from(sign_login(token.text(), &login))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use runner_model::Time;

    use super::{LINK_TIME, LOGIN_TIME, Logins, MAX_LINKS, cookie, is_logged_in};
    use crate::token::Token;

    #[test]
    fn links_work_once_and_within_their_time() {
        let (logins, now) = (Logins::default(), Instant::now());
        let link = logins.link(now);
        assert!(logins.redeem(link.text(), now));
        assert!(!logins.redeem(link.text(), now));
        let late = logins.link(now);
        assert!(!logins.redeem(late.text(), now + LINK_TIME));
    }

    #[test]
    fn new_links_end_the_oldest() {
        let (logins, now) = (Logins::default(), Instant::now());
        let links: Vec<_> = (0..=MAX_LINKS).map(|_| logins.link(now)).collect();
        let mut redeemed = links.iter().map(|link| logins.redeem(link.text(), now));
        assert_eq!(redeemed.next(), Some(false));
        assert!(redeemed.all(|is_redeemed| is_redeemed));
    }

    #[test]
    fn cookies_are_of_one_token_name_and_time() {
        let (token, now) = (Token::random(), Time::from_millis(1_800_000_000_000));
        let own = cookie(&token, "Box.example", now);
        assert!(is_logged_in(&token, "box.example", &own, now));
        assert_ne!(own, cookie(&token, "box.example", now));
        assert!(is_logged_in(
            &token,
            "box.example",
            &own,
            now + (LOGIN_TIME - Duration::from_secs(1))
        ));
        assert!(!is_logged_in(&token, "box.example", &own, now + LOGIN_TIME));
        assert!(!is_logged_in(&Token::random(), "box.example", &own, now));
        assert!(!is_logged_in(&token, "other.example", &own, now));
        let [id, end, signature] = own.split('.').collect::<Vec<_>>()[..] else { panic!("{own}") };
        let later = end.parse::<i64>().unwrap() + 1;
        for forged in [
            format!("{id}.{later}.{signature}"),
            format!("{}.{end}.{signature}", Token::random().text()),
            format!("{id}.{end}.{}", &signature[1..]),
            format!("{id}.{end}."),
            format!("{id}.{end}"),
            token.text().to_owned(),
            String::new(),
        ] {
            assert!(!is_logged_in(&token, "box.example", &forged, now), "{forged}");
        }
    }
}
