//! The keys of a plugin as a scenario uses it: as a provider, or as a grader.

use super::{
    retries::RETRIES,
    sandbox::{GRANTS, LIMITS},
};
use crate::scenario::{
    budgets::BUDGET,
    form::{Form, Key, Name, optional, required, with_default},
    settings::DEFAULT_TIMEOUT_JSON,
};

/// What templates of a command may begin with.
pub(in crate::scenario) const COMMAND_ROOTS: &[&str] = &["input", "config"];

/// What templates of a grader's input may begin with.
pub(in crate::scenario) const GRADER_ROOTS: &[&str] = &[
    "input",
    "output",
    "reference",
    "metrics",
    "test",
    "provider",
];

/// What the placeholders of a matrix begin with.
pub(in crate::scenario) const MATRIX_ROOTS: &[&str] = &["matrix"];

/// A number, whatever it is.
pub(super) const ANY_NUMBER: Form = Form::Number {
    min: f64::MIN,
    max: f64::MAX,
};

/// The groups of keys that a provider has.
pub(super) const PROVIDER: &[&[Key]] = &[
    PLUGIN,
    VARIANTS,
    CALL,
    STDIN_OF_TESTS,
    OUTPUT,
    REUSE,
    BOUNDS,
];

/// The groups of keys that a grader has.
pub(super) const GRADER: &[&[Key]] = &[
    PLUGIN,
    GRADING,
    CALL,
    STDIN_OF_GRADER,
    OUTPUT,
    BOUNDS,
    GRADING_BOUNDS,
];

const PLUGIN: &[Key] = &[required(
    "plugin",
    Form::File,
    "A `.wasm` file, or a folder with a plugin's source, relative to the scenario; or a plugin that the runner carries: `bundled:chat`, `bundled:echo`, `bundled:http` or `bundled:units`.",
)];

const VARIANTS: &[Key] = &[
    optional(
        "matrix",
        Form::Map(&Form::SomeOf(&Form::Scalar), Name::MatrixKey),
        "Lists of values by name. Each combination makes a provider, in whose `plugin`, `config`, `args`, `stdin` and `grants` `{{matrix.NAME}}` is its value.",
    ),
    optional(
        "name",
        Form::Template(MATRIX_ROOTS),
        "How the providers of a matrix are named, such as `gpt-{{matrix.size}}`. Default: `gpt[size=small,temp=0]`.",
    ),
];

const CALL: &[Key] = &[
    optional(
        "sha256",
        Form::Digest,
        "What the plugin's file must hash to.",
    ),
    with_default(
        "config",
        Form::AnyTable,
        "{}",
        "The provider's configuration. It reaches the provider as JSON.",
    ),
    optional(
        "protocol",
        Form::Word(&["plain", "json"]),
        "How a command is called. Default for commands: `plain`. Components need none.",
    ),
    with_default(
        "args",
        Form::List(&Form::Template(COMMAND_ROOTS)),
        "[]",
        "The arguments of a plain command: templates such as `{{input.code}}`.",
    ),
];

const STDIN_OF_TESTS: &[Key] = &[optional(
    "stdin",
    Form::Either(&Form::Template(COMMAND_ROOTS), &Form::Table(&[STDIN])),
    "The standard input of a plain command: a template, or `{ file = NAME }` for the bytes of an attachment.",
)];

const OUTPUT: &[Key] = &[with_default(
    "output",
    Form::Word(&["text", "trimmed", "json"]),
    r#""text""#,
    "What a plain command's standard output is taken for.",
)];

const REUSE: &[Key] = &[optional(
    "reuse",
    Form::Word(&["instance"]),
    "`instance`: a component's instance serves many tests, one after the other. Default: each attempt has a fresh one.",
)];

const BOUNDS: &[Key] = &[
    optional(
        "limits",
        Form::Table(&[LIMITS]),
        "What one attempt may use.",
    ),
    optional(
        "grants",
        Form::Table(&[GRANTS]),
        "What of the world outside its sandbox it may touch. Default: nothing.",
    ),
    optional(
        "budget",
        Form::Table(&[BUDGET]),
        "How much of what it measures it may use up.",
    ),
    optional(
        "concurrency",
        Form::Integer { min: 1, max: 4096 },
        "How many of its attempts run at once.",
    ),
    optional(
        "rate",
        Form::Rate,
        "How many attempts may start in which time, such as `60/min`, `5/s` or `100/h`.",
    ),
];

const STDIN_OF_GRADER: &[Key] = &[optional(
    "stdin",
    Form::Template(COMMAND_ROOTS),
    "The standard input of a plain command: a template such as `{{input.output}}`.",
)];

const GRADING: &[Key] = &[
    optional(
        "input",
        Form::Templates(GRADER_ROOTS),
        "What the grader gets: a value in which `{{input}}`, `{{output}}`, `{{reference}}`, `{{metrics}}`, `{{test}}` and `{{provider}}` are filled in. Default: all of these by name.",
    ),
    optional(
        "min_score",
        ANY_NUMBER,
        "The least score that passes, where the grader gives a score. A test's own `min_score` goes first.",
    ),
];

const GRADING_BOUNDS: &[Key] = &[
    with_default(
        "timeout",
        Form::Duration { zero: false },
        DEFAULT_TIMEOUT_JSON,
        "How long one attempt to grade may take.",
    ),
    optional(
        "retries",
        Form::Table(&[RETRIES]),
        "Which attempts to grade are made again. Default: none.",
    ),
];

pub(super) const STDIN: &[Key] = &[required(
    "file",
    Form::Text,
    "The name of an attachment of the test.",
)];
