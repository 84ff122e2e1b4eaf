//! Forms and choices in words, for messages.

use super::form::Form;

/// Writes names one after the other; of many the first.
pub(super) fn enumerate(names: &[&str]) -> String {
    const MOST: usize = 24;
    let shown = names.iter().take(MOST);
    let shown: Vec<_> = shown.map(|name| format!("`{name}`")).collect();
    match names.len().checked_sub(MOST) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// What a form asks for.
pub(super) fn describe(form: &Form) -> String {
    match form {
        Form::Any | Form::Templates(_) => "a value".to_owned(),
        Form::AnyTable | Form::Table(_) | Form::Map(..) | Form::Templated(..) => {
            "a table".to_owned()
        }
        Form::Text => "a string".to_owned(),
        Form::Scalar => "a string, a number or a boolean".to_owned(),
        Form::TestId => "a test id".to_owned(),
        Form::Integer { min, max } => format!("an integer from {min} to {max}"),
        Form::Number { min, max } if *max == f64::MAX && *min == f64::MIN => "a number".to_owned(),
        Form::Number { min, max } if *max == f64::MAX => format!("a number, at least {min}"),
        Form::Number { min, max } => format!("a number from {min} to {max}"),
        Form::Duration { .. } => "a duration such as \"10s\", \"200ms\" or \"1h30m\"".to_owned(),
        Form::Size => "a size such as \"64MiB\", or a number of bytes".to_owned(),
        Form::Age => "an age such as \"30d\" or \"12h\"".to_owned(),
        Form::Boolean => "true or false".to_owned(),
        Form::Url => "a URL such as \"https://example.com/hook\"".to_owned(),
        Form::Refused(_) => "absent".to_owned(),
        Form::Rate => "a rate such as \"60/min\", \"5/s\" or \"100/h\"".to_owned(),
        Form::FailFast => "true, false, a count, or a fraction up to 1.0".to_owned(),
        Form::ReportFile(extension) => {
            format!("true, false, or the name of a file that ends in `.{extension}`")
        }
        Form::Digest => "a SHA-256 of 64 hexadecimal digits".to_owned(),
        Form::Regex => "a regular expression".to_owned(),
        Form::Glob | Form::FileGlob => "a glob".to_owned(),
        Form::File => "the path of a file".to_owned(),
        Form::Folder => "the path of a folder".to_owned(),
        Form::Mount => "an absolute path such as \"/fixtures\"".to_owned(),
        Form::NetGrant => {
            "a scheme, a host and perhaps a port, such as \"https://api.example.com\"".to_owned()
        }
        Form::Host => {
            "a host such as \"api.example.com\", perhaps with a scheme and a port".to_owned()
        }
        Form::Header => "the name of a header such as \"authorization\"".to_owned(),
        Form::SecretName => "the name of a secret such as \"API_KEY\"".to_owned(),
        Form::Template(_) => "a string".to_owned(),
        Form::Word(words) => format!("one of {}", enumerate(words)),
        Form::List(_) | Form::SomeOf(_) => "an array".to_owned(),
        Form::Either(..) => "a string or a table".to_owned(),
        Form::TextOrList => "a string or an array".to_owned(),
    }
}
