//! [`MissingGrants`]: grants that a plugin requests and does not have.

use std::path::Path;

use runner_model::grants::{FsGrant, FsMode, is_secret_name};
use runner_model::{Grants, NetGrant};
use runner_record::ManifestProvider;
use runner_scenario::{GrantsToml, toml_key, written_name};
use schemars::JsonSchema;
use serde::Serialize;

/// Access that the plugin of a provider, grader or tool requests and is not granted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MissingGrants {
    /// Name of the provider, grader or tool.
    pub name: String,
    pub is_grader: bool,
    pub is_tool: bool,
    /// Requests as the plugin describes them, such as `net:https://api.example.com`.
    pub requests: Vec<String>,
    /// Lines of a scenario that grant them, in addition to the present grants. Empty if no request can be granted.
    pub table: Vec<String>,
}

impl MissingGrants {
    /// Returns the missing grants of a provider. `None` if its plugin requests no more than it is granted.
    pub fn of(provider: &ManifestProvider) -> Option<Self> {
        let mut wanted = provider.grants.clone();
        let requests = provider.description.iter().flat_map(|description| &description.requests);
        // A request that cannot be parsed counts as not granted.
        let requests: Vec<_> =
            requests.filter(|text| add(text, &mut wanted).unwrap_or(true)).cloned().collect();
        let mut table = Vec::new();
        if wanted != provider.grants {
            table = GrantsToml::from(&wanted).proposal(provider.table(), &provider.name);
            let mut folders = wanted.fs.iter();
            let needs_scratch = folders.any(|grant| grant.mode == FsMode::ReadWrite);
            if needs_scratch && provider.limits.scratch == 0 {
                let name = toml_key(written_name(&provider.name));
                table.push(format!("[{}.{name}.limits]", provider.table()));
                table.push("scratch = \"16MiB\"".to_owned());
            }
        }
        let name = provider.name.clone();
        let (is_grader, is_tool) = (provider.is_grader, provider.is_tool);
        (!requests.is_empty()).then_some(Self { name, is_grader, is_tool, requests, table })
    }
}

/// Adds a plugin's request to grants: `net:https://api.example.com`, `secret:API_KEY` or `fs:ro:fixtures`. Returns
/// whether it was missing, also as a part of a wider grant. `None` if the text is not a request.
fn add(text: &str, grants: &mut Grants) -> Option<bool> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "net" => {
            let net = NetGrant::parse(rest).ok()?;
            let is_missing = !grants.net.iter().any(|granted| granted.covers(&net));
            grants.net.extend(is_missing.then_some(net));
            Some(is_missing)
        }
        "secret" if is_secret_name(rest) => {
            let is_missing = !grants.secret_names().contains(rest);
            grants.secrets.extend(is_missing.then(|| rest.to_owned()));
            Some(is_missing)
        }
        "fs" => add_folder(rest, grants),
        _ => None,
    }
}

fn add_folder(text: &str, grants: &mut Grants) -> Option<bool> {
    let (mode, path) = text.split_once(':')?;
    let mode = FsMode::parse(mode)?;
    let path = path.trim_matches('/');
    let mut parts = path.split('/');
    let is_plain = parts.all(|part| !["..", "."].contains(&part) && !part.contains(['\\', '\0']));
    if !is_plain || ["scratch", "files", "artifacts"].contains(&path) {
        return None;
    }
    let mount = format!("/{path}");
    // The mount decides. The scenario chooses the folder of the host.
    let around = grants.fs.iter();
    let around = around.filter(|granted| Path::new(&mount).starts_with(&granted.mount));
    let nearest = around.max_by_key(|granted| granted.mount.len());
    if nearest.is_some_and(|granted| mode == FsMode::ReadOnly || granted.mode == mode) {
        return Some(false);
    }
    match grants.fs.iter_mut().find(|granted| granted.mount == mount) {
        Some(granted) => granted.mode = mode,
        None => grants.fs.push(FsGrant {
            path: if path.is_empty() { "." } else { path }.to_owned(),
            mount,
            mode,
        }),
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use runner_model::grants::{BoundSecret, FsGrant, FsMode};
    use runner_model::{Grants, NetGrant, template::Template};

    use super::add;

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
            env: vec![("KEY".to_owned(), Template::parse("x{{ secret.B }}").unwrap())],
            tools: Vec::new(),
        }
    }

    #[test]
    fn request_is_granted_by_a_wider_grant() {
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
            assert_eq!(add(text, &mut grants()), Some(false), "{text}");
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
            assert_eq!(add(text, &mut wider), Some(true), "{text}");
            assert_eq!(add(text, &mut wider), Some(false), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_request_is_ignored() {
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
            assert_eq!(add(text, &mut grants()), None, "{text:?}");
        }
    }
}
