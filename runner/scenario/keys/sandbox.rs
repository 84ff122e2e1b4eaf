//! The keys of a provider's sandbox: what it may use and what it may touch.

use super::{BYTES, COUNT, ENV_ROOTS, optional, required, with_default};
use crate::scenario::form::{Form, Key, Name};

/// What one attempt may use.
pub(super) const LIMITS: &[Key] = &[
    optional(
        "time",
        Form::Duration { zero: false },
        "Caps every attempt's `timeout`.",
    ),
    with_default(
        "input",
        Form::Size,
        r#""4MiB""#,
        "Bytes of the input, of the configuration, and of standard input.",
    ),
    with_default(
        "memory",
        Form::Size,
        r#""256MiB""#,
        "Bytes of all memories together.",
    ),
    with_default(
        "table_elements",
        Form::Integer {
            min: 0,
            max: u32::MAX as i64,
        },
        "1000000",
        "Elements of all tables together.",
    ),
    with_default(
        "file",
        Form::Size,
        r#""64MiB""#,
        "Bytes of the plugin's file.",
    ),
    with_default(
        "reply",
        Form::Size,
        r#""4MiB""#,
        "Bytes of a reply, or of a plain command's standard output.",
    ),
    with_default(
        "log",
        Form::Size,
        r#""1MiB""#,
        "Bytes of log messages; what is over is dropped and counted.",
    ),
    with_default(
        "log_records",
        Form::Integer { min: 0, max: BYTES },
        "10000",
        "Log records; what is over is dropped and counted.",
    ),
    with_default(
        "stdio",
        Form::Size,
        r#""64KiB""#,
        "Bytes kept of standard output and standard error, from the start and from the end each.",
    ),
    with_default(
        "artifacts",
        Form::Size,
        r#""64MiB""#,
        "Bytes of all artifacts together.",
    ),
    with_default(
        "artifact_files",
        Form::Integer { min: 0, max: COUNT },
        "100",
        "How many artifacts.",
    ),
    with_default(
        "http_requests",
        Form::Integer { min: 0, max: COUNT },
        "100",
        "HTTP requests of one attempt.",
    ),
    with_default(
        "http_response",
        Form::Size,
        r#""10MiB""#,
        "Bytes of one HTTP response's body.",
    ),
    with_default(
        "scratch",
        Form::Size,
        "0",
        "Bytes that may be written to files in all; a file that grows without them and each new file, folder or link (4 KiB) count too. More than 0 gives an empty private `/scratch`, and `/artifacts` to commands.",
    ),
];

/// What of the world outside its sandbox a provider may touch.
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
