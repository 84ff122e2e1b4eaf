//! What a plugin asks for in its description and its provider is not granted.

use std::path::Path;

use url::Url;

use crate::{
    model::{FsGrant, FsMode, Grants, NetGrant, is_secret_name},
    run::{event::Event, plan::PlannedProvider},
    scenario,
};

/// One thing that a plugin would like to be granted.
enum Request {
    Net(NetGrant),
    Secret(String),
    Fs { mount: String, mode: FsMode },
}

/// Tells which of a plugin's requests are not granted. The provider runs all the same.
pub(super) fn show(
    provider: &PlannedProvider,
    requests: &[String],
    observe: &mut dyn FnMut(Event<'_>),
) {
    let definition = &provider.definition;
    let (open, grants) = not_granted(requests, &definition.grants);
    if !open.is_empty() {
        observe(Event::Requests {
            provider: &definition.id,
            requests: &open,
            grants: (grants != definition.grants).then_some(&grants),
            lacks_scratch: provider.limits.scratch == 0 && grants.fs.iter().any(is_writable),
        });
    }
}

/// Finds the requests that are not granted, and the grants with all of them.
pub fn not_granted<'a>(requests: &'a [String], granted: &Grants) -> (Vec<&'a str>, Grants) {
    let mut grants = granted.clone();
    let mut open = Vec::new();
    for text in requests {
        let request = Request::parse(text);
        match request {
            Some(request) if request.is_granted(granted) => continue,
            Some(request) if !request.is_granted(&grants) => request.grant(&mut grants),
            // Asked for twice, or in words that nobody knows.
            Some(_) | None => {}
        }
        open.push(text.as_str());
    }
    (open, grants)
}

fn is_writable(grant: &FsGrant) -> bool {
    grant.mode == FsMode::ReadWrite
}

impl Request {
    /// Reads `net:https://api.example.com`, `secret:API_KEY` or `fs:ro:fixtures`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "net" => NetGrant::parse(rest).ok().map(Self::Net),
            "secret" => is_secret_name(rest).then(|| Self::Secret(rest.to_owned())),
            "fs" => {
                let (mode, path) = rest.split_once(':')?;
                let mode = [FsMode::ReadOnly, FsMode::ReadWrite]
                    .into_iter()
                    .find(|known| known.as_str() == mode)?;
                let mount = format!("/{}", path.trim_matches('/'));
                scenario::check_mount(&mount).ok()?;
                Some(Self::Fs { mount, mode })
            }
            _ => None,
        }
    }

    /// Tells whether `grants` have it, perhaps as a part of something wider.
    fn is_granted(&self, grants: &Grants) -> bool {
        match self {
            Self::Net(wanted) => {
                let url = Url::parse(&wanted.to_string()).ok();
                let is_in =
                    |granted: &NetGrant| url.as_ref().is_some_and(|url| granted.matches(url));
                grants
                    .net
                    .iter()
                    .any(|granted| granted == wanted || is_in(granted))
            }
            Self::Secret(name) => {
                let in_environment = format!("{{{{secret.{name}}}}}");
                let mut variables = grants.env.iter();
                let mut bound = grants.bound_secrets.iter();
                grants.secrets.contains(name)
                    || bound.any(|bound| bound.name == *name)
                    || variables.any(|(_, value)| value.replace(' ', "").contains(&in_environment))
            }
            // Which folder of the host it is, is up to whoever grants it.
            Self::Fs { mount, mode } => {
                let around = |granted: &&FsGrant| Path::new(mount).starts_with(&granted.mount);
                let nearest = grants.fs.iter().filter(around);
                let nearest = nearest.max_by_key(|granted| granted.mount.len());
                nearest.is_some_and(|granted| {
                    *mode == FsMode::ReadOnly || granted.mode == FsMode::ReadWrite
                })
            }
        }
    }

    /// Adds it.
    fn grant(self, grants: &mut Grants) {
        match self {
            Self::Net(net) => grants.net.push(net),
            Self::Secret(name) => grants.secrets.push(name),
            Self::Fs { mount, mode } => {
                let path = match mount.trim_matches('/') {
                    "" => ".".to_owned(),
                    path => path.to_owned(),
                };
                match grants.fs.iter_mut().find(|granted| granted.mount == mount) {
                    Some(granted) => granted.mode = mode,
                    None => grants.fs.push(FsGrant { path, mount, mode }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::model::{BoundSecret, FsGrant, FsMode, Grants, NetGrant};

    fn grants() -> Grants {
        Grants {
            net: vec![NetGrant::parse("https://*.example.com").unwrap()],
            secrets: vec!["A".to_owned()],
            bound_secrets: vec![BoundSecret::parse("D", "api.example.com", "x").unwrap()],
            fs: vec![FsGrant {
                path: "../somewhere".to_owned(),
                mount: "/data".to_owned(),
                mode: FsMode::ReadOnly,
            }],
            env: vec![("KEY".to_owned(), "x{{ secret.B }}".to_owned())],
        }
    }

    #[test]
    fn a_request_is_granted_by_what_is_as_wide_or_wider() {
        for text in [
            "net:https://api.example.com",
            "net:https://*.example.com",
            "secret:A",
            "secret:B",
            "secret:D",
            "fs:ro:data",
            "fs:ro:/data/",
            "fs:ro:data/sub",
        ] {
            assert!(
                Request::parse(text).unwrap().is_granted(&grants()),
                "{text}"
            );
        }
        for text in [
            "net:https://example.com",
            "net:http://api.example.com",
            "net:https://*.other.com",
            "secret:C",
            "fs:rw:data",
            "fs:ro:fixtures",
            "fs:ro:database",
            "fs:ro:/",
        ] {
            let mut wider = grants();
            let request = Request::parse(text).unwrap();
            assert!(!request.is_granted(&wider), "{text}");
            request.grant(&mut wider);
            assert!(Request::parse(text).unwrap().is_granted(&wider), "{text}");
        }
    }

    #[test]
    fn what_is_no_request_is_nothing() {
        for text in [
            "",
            "net",
            "net:*",
            "secret:",
            "fs:fixtures",
            "fs:wo:x",
            "fs:ro:../x",
            "fs:rw:scratch",
            "secret:A-B",
            "gpu:1",
        ] {
            assert!(Request::parse(text).is_none(), "{text:?}");
        }
    }
}
