//! Grants that do nothing for a plugin.

use std::collections::HashMap;

use runner_model::provider::{PluginKind, PreparedProvider};

use crate::contents::Contents;

const NET_OF_MODULE: &str = "`net` does nothing for a module of WASI preview 1, which has no network; a component has one by `wasi:http`";
const SECRETS_OF_MODULE: &str = "`secrets` does nothing for a module of WASI preview 1; it gets one by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";
const SECRETS_WITHOUT_NET: &str = "`secrets` without `net` does nothing for a command, which gets one only in the headers of its requests, or by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";

/// What of providers' grants their plugins can do nothing with, in sentences for people.
pub(crate) fn idle(providers: &[PreparedProvider], plugins: &Contents) -> Vec<String> {
    let (mut idle, mut modules) = (Vec::new(), HashMap::new());
    for prepared in providers {
        let (name, grants) = (&prepared.provider.name, &prepared.provider.grants);
        let has_net = !grants.net.is_empty();
        let has_secrets = !grants.secrets.is_empty() || !grants.bound_secrets.is_empty();
        if prepared.kind == PluginKind::Component || !has_net && !has_secrets {
            continue;
        }
        // A command may be a component, too.
        let is_module = *modules.entry(prepared.digest).or_insert_with(|| {
            let head = plugins.head(&prepared.digest);
            head.is_ok_and(|head| PluginKind::of(&head) == Some(PluginKind::Command))
        });
        let texts = [
            (is_module && has_net).then_some(NET_OF_MODULE),
            (is_module && has_secrets).then_some(SECRETS_OF_MODULE),
            (!is_module && !has_net).then_some(SECRETS_WITHOUT_NET),
        ];
        let texts = texts.into_iter().flatten();
        idle.extend(texts.map(|text| format!("provider `{name}`: {text}")));
    }
    idle
}
