//! Notices of grants and other keys without effect.

use std::collections::HashMap;

use runner_model::provider::{OutputForm, PluginKind, PreparedProvider};

use crate::content_source::ContentSource;

const NET_OF_MODULE: &str = "`net` does nothing for a module of WASI preview 1, which has no network; a component has one by `wasi:http`";
const SECRETS_OF_MODULE: &str = "`secrets` does nothing for a module of WASI preview 1; it gets one by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";
const SECRETS_WITHOUT_NET: &str = "`secrets` without `net` does nothing for a command, which gets one only in the headers of its requests, or by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";

/// Returns a notice for each key and grant that has no effect on its plugin.
pub fn unused(providers: &[PreparedProvider], plugins: &ContentSource) -> Vec<String> {
    let (mut notices, mut modules) = (Vec::new(), HashMap::new());
    for prepared in providers {
        let (name, grants) = (&prepared.provider.name, &prepared.provider.grants);
        let ignored = ignored(prepared).into_iter().flatten();
        notices.extend(ignored.map(|key| {
            let kind = prepared.kind.as_str();
            format!("provider `{name}`: `{key}` does nothing for a {kind}")
        }));
        let has_net = !grants.net.is_empty();
        let has_secrets = !grants.secrets.is_empty() || !grants.bound_secrets.is_empty();
        if prepared.kind == PluginKind::Component || !has_net && !has_secrets {
            continue;
        }
        // Commands are modules or components, and only components have `wasi:http`.
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
        notices.extend(texts.map(|text| format!("provider `{name}`: {text}")));
    }
    notices
}

/// Returns the keys of a provider that only affect plugins of the other kind.
fn ignored(prepared: &PreparedProvider) -> [Option<&'static str>; 4] {
    let provider = &prepared.provider;
    let is_component = prepared.kind == PluginKind::Component;
    [
        (is_component && !provider.args.templates().is_empty()).then_some("args"),
        (is_component && provider.stdin.is_some()).then_some("stdin"),
        (is_component && provider.output != OutputForm::Text).then_some("output"),
        (!is_component && provider.reuse.is_some()).then_some("reuse"),
    ]
}
