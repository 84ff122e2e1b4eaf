use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use runner_model::grants::{FsGrant, FsMode};
use runner_model::provider::{MountedFolder, PluginKind, PreparedProvider};
use runner_model::{Digest, Limits};
use serde_json::{Value, json};

use super::Ceiling;

fn ceiling(words: &[&str]) -> Ceiling {
    Ceiling::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn provider(grants: &Value) -> PreparedProvider {
    let provider = json!({
        "name": "p", "plugin": "bundled:echo", "config": {}, "limits": Limits::default(), "grants": grants,
    });
    let provider = serde_json::from_value(provider).unwrap();
    PreparedProvider {
        provider,
        digest: Digest([0; 32]),
        kind: PluginKind::Component,
        mounts: Vec::new(),
    }
}

fn with_folder(host: &str, mode: FsMode) -> PreparedProvider {
    let mut prepared = provider(&json!({}));
    prepared.provider.grants.fs =
        vec![FsGrant { path: "data".to_owned(), mount: "/data".to_owned(), mode }];
    prepared.mounts = vec![MountedFolder {
        host: host.to_owned(),
        guest: "/data".to_owned(),
        mode,
        device: 0,
        inode: 0,
        content: None,
    }];
    prepared
}

fn is_refused(words: &[&str], prepared: PreparedProvider) -> bool {
    ceiling(words).refusal(&[prepared]).is_some()
}

#[test]
fn ceiling_without_words_gives_no_grant() {
    for grants in [
        json!({"net": ["https://a.example.com"]}),
        json!({"secrets": ["KEY"]}),
        json!({"bound_secrets": [{"name": "KEY", "host": "https://a.example.com", "header": "x"}]}),
        json!({"env": [["A", "{{secret.KEY}}"]]}),
        json!({"env": [["A", "{{input.a}}"], ["B", "x{{ secret.HOME }}y"]]}),
    ] {
        assert!(is_refused(&[], provider(&grants)), "{grants}");
        assert!(!is_refused(&["all"], provider(&grants)), "{grants}");
    }
    assert!(is_refused(&[], with_folder("/data", FsMode::ReadOnly)));
    assert!(!is_refused(&[], provider(&json!({"env": [["A", "{{input.a}}"]]}))));
}

#[test]
fn secrets_of_any_grant_are_given_by_name() {
    let grants = json!({"secrets": ["LISTED"], "env": [["A", "{{secret.TEMPLATE}}"]]});
    assert!(is_refused(&["secret=LISTED"], provider(&grants)));
    assert!(is_refused(&["secret=TEMPLATE"], provider(&grants)));
    assert!(!is_refused(&["secret=TEMPLATE", "secret=LISTED"], provider(&grants)));
    let refusal = ceiling(&["secret=LISTED"]).refusal(&[provider(&grants)]).unwrap();
    assert_eq!(
        refusal,
        "provider `p` needs `secret=TEMPLATE`, which the worker does not allow; start it with `--ceiling secret=TEMPLATE`"
    );
}

#[test]
fn destinations_must_be_covered_by_a_pattern() {
    let net = |text: &str| provider(&json!({"net": [text]}));
    for (pattern, granted, refused) in [
        ("net=https://*.example.com", "https://a.example.com", false),
        ("net=https://*.example.com", "https://*.b.example.com", false),
        ("net=https://*.example.com", "https://example.com", true),
        ("net=https://*.example.com", "https://badexample.com", true),
        ("net=https://a.example.com", "https://*.example.com", true),
        ("net=https://a.example.com", "http://a.example.com", true),
        ("net=https://a.example.com", "https://a.example.com:8443", true),
        ("net=http://localhost:80", "http://127.0.0.1", true),
    ] {
        assert_eq!(is_refused(&[pattern], net(granted)), refused, "{pattern} {granted}");
    }
}

#[test]
fn folders_must_be_in_an_allowed_one() {
    let temporary = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(temporary.path()).unwrap();
    fs::create_dir_all(root.join("real/data")).unwrap();
    symlink(root.join("real"), root.join("link")).unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let (real, link) = (format!("fs={}", path("real")), format!("fs={}", path("link")));
    for (word, host, is_refused_ro) in [
        (&real, path("real"), false),
        (&real, path("real/data"), false),
        // The ceiling names a link, and a coordinator the folder itself.
        (&link, path("real/data"), false),
        (&real, path("realm"), true),
        (&real, path("real/../other"), true),
        (&real, format!("{}/real/..", root.display()), true),
        (&real, "real/data".to_owned(), true),
        (&real, "/".to_owned(), true),
        (&real, String::new(), true),
    ] {
        assert_eq!(
            is_refused(&[word], with_folder(&host, FsMode::ReadOnly)),
            is_refused_ro,
            "{host}"
        );
        assert!(is_refused(&[word], with_folder(&host, FsMode::ReadWrite)), "{host}");
        let writable = format!("{word}:rw");
        assert_eq!(
            is_refused(&[&writable], with_folder(&host, FsMode::ReadWrite)),
            is_refused_ro,
            "{host}"
        );
    }
    assert!(Path::new(&path("link")).is_symlink());
}

#[test]
fn folders_that_differ_from_grants_are_refused() {
    let mut more = with_folder("/data", FsMode::ReadOnly);
    more.provider.grants.fs.clear();
    let mut fewer = with_folder("/data", FsMode::ReadOnly);
    fewer.mounts.clear();
    let mut writable = with_folder("/data", FsMode::ReadOnly);
    writable.provider.grants.fs[0].mode = FsMode::ReadWrite;
    for prepared in [more, fewer, writable] {
        for words in [&["fs=/data"][..], &["all"]] {
            assert!(is_refused(words, prepared.clone()), "{words:?} {:?}", prepared.mounts);
        }
    }
}

#[test]
fn memory_is_bounded_also_for_trusted_runs() {
    let prepared = || provider(&json!({}));
    assert!(is_refused(&["memory=64MiB", "all"], prepared()));
    assert!(!is_refused(&["memory=256MiB"], prepared()));
}

#[test]
fn files_are_bounded_also_for_trusted_runs() {
    let limited = |limits: Limits| {
        let mut prepared = provider(&json!({}));
        prepared.provider.limits = limits;
        prepared
    };
    let scratch = |scratch| limited(Limits { scratch, ..Limits::default() });
    let artifacts = |artifacts| limited(Limits { artifacts, ..Limits::default() });
    assert!(is_refused(&["scratch=1MiB", "all"], scratch(2 << 20)));
    assert!(!is_refused(&["scratch=1MiB"], scratch(1 << 20)));
    assert!(is_refused(&["scratch=1MiB", "all"], artifacts(65 << 20)));
    assert!(!is_refused(&["scratch=65MiB"], artifacts(65 << 20)));
    let refusal = ceiling(&["scratch=1MiB"]).refusal(&[scratch(900 << 30)]).unwrap();
    assert_eq!(
        refusal,
        "provider `p` needs 900 GiB of scratch, and the worker's ceiling is 1 MiB; to raise it, start it with `--ceiling scratch=SIZE`"
    );
    // Without a maximum, it is half of the free space.
    for words in [&[][..], &["all"]] {
        let mut ceiling = ceiling(words);
        ceiling.limit_scratch(Path::new("/tmp")).unwrap();
        assert!(ceiling.refusal(&[scratch(1 << 60)]).is_some());
        assert!(ceiling.refusal(&[scratch(0)]).is_none());
    }
}

#[test]
fn invalid_words_are_refused() {
    for word in [
        "",
        "net",
        "net=",
        "net=*",
        "net=https://*",
        "secret=",
        "secret=A-B",
        "secret=*",
        "fs=",
        "fs=data",
        "fs=/data/../etc",
        "fs=:rw",
        "memory=",
        "memory=lots",
        "scratch=",
        "scratch=lots",
        "all=1",
        "ALL",
        "env=HOME",
        "net=\u{1b}[2J",
    ] {
        let error = Ceiling::parse(&[word.to_owned()]).unwrap_err();
        assert!(error.starts_with("invalid ceiling `") && !error.contains('\u{1b}'), "{error}");
    }
}
