//! [`Form`]: what a value must look like.

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) presence: Presence,
    /// One or two sentences for editors and the documentation.
    pub(super) meaning: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
    /// May be absent, and then it is as if this JSON stood there.
    Default(&'static str),
}

/// What a value must look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Any value at all.
    Any,
    /// A table with any keys.
    AnyTable,
    /// A string with at least one character.
    Text,
    /// A string with at least one character, a number or a boolean.
    Scalar,
    TestId,
    Integer {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Duration {
        zero: bool,
    },
    /// A duration that may have days.
    Age,
    Boolean,
    Size,
    Rate,
    /// An address of HTTP.
    Url,
    FailFast,
    Digest,
    Regex,
    /// Over test ids or providers' names: `*` crosses `/`.
    Glob,
    /// Over files: `*` does not cross `/`.
    FileGlob,
    /// A path, as seen from the scenario's folder.
    File,
    /// The same of a folder.
    Folder,
    /// Whether a report is written, or the name of its file, which ends like this.
    ReportFile(&'static str),
    /// A path in a guest's file system.
    Mount,
    /// Scheme, host and perhaps port.
    NetGrant,
    SecretName,
    /// Scheme, host and perhaps port, or a host alone.
    Host,
    /// The name of an HTTP header.
    Header,
    /// A string with `{{…}}` that begin with one of these.
    Template(&'static [&'static str]),
    /// Any value, the strings in it being templates.
    Templates(&'static [&'static str]),
    /// A table of this form, except that any string in it may be a template instead.
    Templated(&'static Self, &'static [&'static str]),
    Word(&'static [&'static str]),
    List(&'static Self),
    /// A list with at least one element.
    SomeOf(&'static Self),
    /// Names that the user chooses.
    Map(&'static Self, Name),
    /// The groups' keys together.
    Table(&'static [&'static [Key]]),
    /// Text in this form, or a table in the other.
    Either(&'static Self, &'static Self),
    /// A string, or an array of anything.
    TextOrList,
    /// Nothing at all, for this reason.
    Refused(&'static str),
}

/// What names a map may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Provider,
    /// A key of a matrix.
    MatrixKey,
    Attachment,
    /// A key of what tests say of themselves.
    Meta,
    /// A metric that providers report.
    Metric,
    /// An environment variable.
    Variable,
}

pub(super) const fn optional(name: &'static str, form: Form, meaning: &'static str) -> Key {
    Key {
        name,
        form,
        presence: Presence::Optional,
        meaning,
    }
}

pub(super) const fn required(name: &'static str, form: Form, meaning: &'static str) -> Key {
    Key {
        name,
        form,
        presence: Presence::Required,
        meaning,
    }
}

pub(super) const fn with_default(
    name: &'static str,
    form: Form,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        form,
        presence: Presence::Default(default),
        meaning,
    }
}
