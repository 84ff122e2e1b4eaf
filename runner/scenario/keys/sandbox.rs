//! The keys of a provider's sandbox: what it may use and what it may touch.

use crate::{
    model::{LimitUnit, Limits},
    scenario::form::{Form, Key, Name, optional, required, with_default},
};

/// What templates of environment variables may begin with. Only there is a secret known.
const ENV_ROOTS: &[&str] = &["input", "config", "secret"];

/// What one attempt may use.
pub(super) const LIMITS: &[Key] = &limits();

/// `time`, which is a duration, and then the table.
const fn limits() -> [Key; 1 + Limits::TABLE.len()] {
    let mut keys = [const {
        optional(
            "time",
            Form::Duration { zero: false },
            "Caps every attempt's `timeout`.",
        )
    }; 1 + Limits::TABLE.len()];
    // A `const fn` has neither iterators nor `for`.
    let mut place = 0;
    while place < Limits::TABLE.len() {
        let limit = &Limits::TABLE[place];
        let form = match limit.unit {
            LimitUnit::Bytes => Form::Size,
            LimitUnit::Count { most } => Form::Integer { min: 0, max: most },
        };
        keys[place + 1] = with_default(limit.key, form, limit.default, limit.meaning());
        place += 1;
    }
    keys
}

/// What of the world outside its sandbox a provider may touch.
///
/// Only values of `env` are templates: a path or a host that a test's input could choose would be a grant that nobody wrote.
pub(super) const GRANTS: &[Key] = &[
    with_default(
        "net",
        Form::List(&Form::NetGrant),
        "[]",
        "Where HTTP requests may go: scheme, host and port, such as `https://api.example.com` or `https://*.example.com`.",
    ),
    with_default(
        "secrets",
        Form::List(&Form::Either(
            &Form::SecretName,
            &Form::Table(&[BOUND_SECRET]),
        )),
        "[]",
        "Names of secrets that it may have, or tables that bind one to a header of requests to a host. Their values come from the environment or from `--secret-file`.",
    ),
    with_default(
        "fs",
        Form::List(&Form::Table(&[FS_GRANT])),
        "[]",
        "Folders that it finds in its file system.",
    ),
    with_default(
        "env",
        Form::Map(&Form::Template(ENV_ROOTS), Name::Variable),
        "{}",
        "Environment variables: templates such as `{{config.lang}}`, `{{input.user}}` or `{{secret.API_KEY}}`.",
    ),
];

/// A secret that the host puts into a header, and that a guest never has.
pub(super) const BOUND_SECRET: &[Key] = &[
    required("name", Form::SecretName, "The secret's name."),
    required(
        "host",
        Form::Host,
        "Where the requests go: a host such as `api.example.com`, which stands for `https` at its own port, or scheme, host and port as in `net`.",
    ),
    required(
        "header",
        Form::Header,
        "The header that may have it, such as `authorization`.",
    ),
];

/// A folder of the host, as a guest sees it.
pub(super) const FS_GRANT: &[Key] = &[
    required(
        "path",
        Form::Folder,
        "The folder. Relative to the scenario.",
    ),
    required(
        "mount",
        Form::Mount,
        "Where the provider finds it: an absolute path, such as `/fixtures`, or `/`. Of two mounts the longer one wins.",
    ),
    with_default(
        "mode",
        Form::Word(&["ro", "rw"]),
        r#""ro""#,
        "Whether it may be written to; `rw` needs `limits.scratch`.",
    ),
];
