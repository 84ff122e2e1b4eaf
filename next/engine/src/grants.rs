//! Grants beside what plugins are: those that do nothing for a plugin, and those that a plugin asks for and does not have.

use std::path::Path;

use runner_model::{
    Grants, NetGrant,
    grants::{FsGrant, FsMode, is_secret_name},
    provider::{PluginKind, PreparedProvider},
};

use crate::contents::Contents;

const NET_OF_MODULE: &str = "`net` does nothing for a module of WASI preview 1, which has no network; a component has one by `wasi:http`";
const SECRETS_OF_MODULE: &str = "`secrets` does nothing for a module of WASI preview 1; it gets one by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";
const SECRETS_WITHOUT_NET: &str = "`secrets` without `net` does nothing for a command, which gets one only in the headers of its requests, or by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";

/// What of providers' grants their plugins can do nothing with, in sentences for people.
pub(crate) fn idle(providers: &[PreparedProvider], plugins: &Contents) -> Vec<String> {
    let commands = providers.iter();
    let commands = commands.filter(|prepared| prepared.kind == PluginKind::Command);
    let found = commands.flat_map(|prepared| {
        let grants = &prepared.provider.grants;
        let has_net = !grants.net.is_empty();
        let has_secrets = !grants.secrets.is_empty() || !grants.bound_secrets.is_empty();
        // A command may be a component, too.
        let head = plugins.head(&prepared.digest);
        let is_module = head.is_ok_and(|head| PluginKind::of(&head) == Some(PluginKind::Command));
        let texts = [
            (is_module && has_net).then_some(NET_OF_MODULE),
            (is_module && has_secrets).then_some(SECRETS_OF_MODULE),
            (!is_module && has_secrets && !has_net).then_some(SECRETS_WITHOUT_NET),
        ];
        let name = &prepared.provider.name;
        let texts = texts.into_iter().flatten();
        texts.map(move |text| format!("provider `{name}`: {text}"))
    });
    found.collect()
}

/// One thing that a plugin would like to be granted.
enum Request {
    Net(NetGrant),
    Secret(String),
    Fs { mount: String, mode: FsMode },
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
            // Asked for twice, or in unknown words.
            Some(_) | None => {}
        }
        open.push(text.as_str());
    }
    (open, grants)
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
                let mode = FsMode::parse(mode)?;
                let path = path.trim_matches('/');
                let is_plain = path
                    .split('/')
                    .all(|part| !["..", "."].contains(&part) && !part.contains(['\\', '\0']));
                let is_own = ["scratch", "files", "artifacts"].contains(&path);
                (is_plain && !is_own).then(|| Self::Fs {
                    mount: format!("/{path}"),
                    mode,
                })
            }
            _ => None,
        }
    }

    /// Tells whether `grants` have it, perhaps as a part of something wider.
    fn is_granted(&self, grants: &Grants) -> bool {
        match self {
            Self::Net(wanted) => grants.net.iter().any(|granted| granted.covers(wanted)),
            Self::Secret(name) => grants.secret_names().contains(name),
            // Which folder of the host it is, is up to the scenario.
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
    use runner_model::{
        Grants, NetGrant,
        grants::{BoundSecret, FsGrant, FsMode},
        template::Template,
    };

    use super::Request;

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
            env: vec![(
                "KEY".to_owned(),
                Template::parse("x{{ secret.B }}").unwrap(),
            )],
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
