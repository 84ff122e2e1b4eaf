//! What providers are granted, ask for and were denied, as people paste it into a scenario.

use std::collections::BTreeMap;

use owo_colors::OwoColorize as _;

use super::format;
use crate::{
    model::{Grants, GrantsToml, ProviderId, add_indented, key_and_value, toml_key, toml_string},
    record::{ManifestBoundSecret, ManifestGrants},
};

/// The tables of a run's providers that are granted something.
pub(super) fn tables<'a>(
    providers: impl Iterator<Item = (&'a str, &'a ManifestGrants)>,
) -> Vec<String> {
    let granted = providers.filter(|(_, grants)| !grants.is_empty());
    granted
        .flat_map(|(provider, grants)| GrantsToml::from(grants).table(provider))
        .collect()
}

/// Says what a plugin asks for, and what of a scenario grants it.
pub(super) fn requests_text(provider: &ProviderId, requests: &[&str], toml: &[String]) -> String {
    let mut text = format!(
        "{} provider `{provider}` asks for more than it is granted: {}",
        "note:".cyan().bold(),
        listed(requests)
    );
    if !toml.is_empty() {
        text.push_str("\n  the scenario grants it with");
        add_indented(&mut text, 4, toml);
    }
    text
}

/// The tables of a scenario that grant what is asked for, and what is granted already.
pub(super) fn requests_toml(
    provider: &ProviderId,
    grants: Option<&Grants>,
    lacks_scratch: bool,
) -> Vec<String> {
    let Some(grants) = grants else {
        return Vec::new();
    };
    let mut lines = GrantsToml::from(grants).table(provider.as_str());
    if lacks_scratch {
        lines.push(format!(
            "[providers.{}.limits]",
            toml_key(ProviderId::table(provider.as_str()))
        ));
        lines.push("scratch = \"16MiB\"".to_owned());
    }
    lines
}

/// Requests in the words of a plugin, on one line.
pub(super) fn listed(requests: &[&str]) -> String {
    let requests = requests.iter();
    let requests: Vec<_> = requests
        .map(|request| format::visible_line(request))
        .collect();
    requests.join(", ")
}

/// What a run's providers are granted, by provider.
#[derive(Default)]
pub(super) struct Granted(BTreeMap<String, GrantsToml>);

impl Granted {
    /// The table of a scenario that grants a provider all of `denied`, the lines of a row, and what it is granted
    /// already; nothing if that is all of it.
    pub(super) fn with<'a>(
        &self,
        provider: &str,
        denied: impl Iterator<Item = &'a str>,
    ) -> Vec<String> {
        let mut grants = self.0.get(provider).cloned().unwrap_or_default();
        let added = denied.filter(|line| grants.add(line)).count();
        if added == 0 {
            return Vec::new();
        }
        grants.table(provider)
    }
}

impl<'a, T> FromIterator<(&'a str, &'a T)> for Granted
where
    GrantsToml: From<&'a T>,
{
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a T)>>(providers: I) -> Self {
        let providers = providers.into_iter();
        let toml =
            providers.map(|(provider, grants)| (provider.to_owned(), GrantsToml::from(grants)));
        Self(toml.collect())
    }
}

/// Says what would have allowed something that was denied, whatever is granted already.
pub(super) fn denied_line(provider: &str, what: &str, grant: Option<&str>) -> String {
    let what = format::visible_line(what);
    match grant.and_then(key_and_value) {
        Some((name, value)) => format!(
            "denied: {what} – to allow it, add {} to `{name}` of [providers.{}.grants]",
            format::visible_line(value),
            toml_key(ProviderId::table(provider))
        ),
        None => format!("denied: {what}"),
    }
}

impl From<&ManifestGrants> for GrantsToml {
    fn from(grants: &ManifestGrants) -> Self {
        let fs = grants.fs.iter();
        let env = grants.env.iter();
        Self {
            net: grants.net.iter().map(|net| toml_string(net)).collect(),
            secrets: grants
                .secrets
                .iter()
                .map(|name| toml_string(name))
                .chain(grants.bound_secrets.iter().map(bound))
                .collect(),
            fs: fs
                .map(|grant| Self::folder(&grant.path, &grant.mount, &grant.mode))
                .collect(),
            env: env
                .map(|(name, value)| Self::variable(name, value))
                .collect(),
        }
    }
}

fn bound(secret: &ManifestBoundSecret) -> String {
    format!(
        "{{ name = {}, host = {}, header = {} }}",
        toml_string(&secret.name),
        toml_string(&secret.host),
        toml_string(&secret.header)
    )
}
