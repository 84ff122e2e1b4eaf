//! Reads text files of bounded size.

use std::io::{self, Read};
use std::{fs::File, path::Path};

use runner_model::visible::shown_path;

use crate::problem::{Place, Problem, Source, line_breaks};
use crate::reading::slip_distance;

/// Bytes of a text that is read as a whole, and of a record. Bounds the memory for any file.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// Opens a file that a user has named. A pipe of the shell, such as `/dev/stdin` or that of `<(…)`, is accepted.
///
/// # Errors
///
/// The file cannot be opened, or is a device, which may have no end, or a named pipe, which would wait for a writer.
pub fn open_named(path: &Path) -> io::Result<File> {
    // The real path of a pipe of the shell, `pipe:[1]`, does not exist.
    match path.canonicalize() {
        Ok(real) if !real.is_file() && !real.is_dir() => {
            Err(io::Error::other("it is not a regular file"))
        }
        _ => File::open(path),
    }
}

/// Reads a text file. `noun` is for messages, `shown` the path for people, and `help` for a file above [`MAX_BYTES`].
pub(crate) fn read_text(
    path: &Path,
    shown: &str,
    noun: &str,
    help: &str,
) -> Result<String, Problem> {
    let cannot_read = |error: io::Error| {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("the {noun} does not exist"),
            _ => format!("cannot read the {noun}: {error}"),
        };
        let problem = Problem::for_file(shown, message);
        match files_beside(path, Path::new("")) {
            Some(help) if error.kind() == io::ErrorKind::NotFound => problem.with_help(help),
            _ => problem,
        }
    };
    let mut bytes = Vec::new();
    let file = open_named(path).map_err(cannot_read)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the {noun} has more than 16 MiB");
        return Err(Problem::for_file(shown, message).with_help(help));
    }
    if bytes.starts_with(b"\0asm") {
        let message = format!("this is a plugin, not a {noun}");
        let help = "name it as `plugin` of a provider, or call it once: runner plugin run FILE";
        return Err(Problem::for_file(shown, message).with_help(help));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(shown, 1, error.as_bytes()))
}

/// Returns a help that names the file whose stem or extension a missing one has misspelt, or else the existing files of its
/// type, relative to `base`.
pub fn files_beside(path: &Path, base: &Path) -> Option<String> {
    const MAX_NAMED: usize = 10;
    let folder = path.parent()?;
    let end = path.extension()?.to_str()?;
    let entries = if folder == Path::new("") { Path::new(".") } else { folder }.read_dir().ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    let folder = folder.strip_prefix(base).unwrap_or(folder);
    let shown = |name: &String| format!("`{}`", shown_path(&folder.join(name)));
    let stem = path.file_stem()?.to_str()?;
    let near = names.iter().filter_map(|name| {
        let parts = name.rsplit_once('.')?;
        // The extension, which all have, would make short names similar.
        let distance = match (parts.0 == stem, parts.1 == end) {
            (_, true) => slip_distance(stem, parts.0),
            (true, false) => slip_distance(end, parts.1),
            (false, false) => None,
        };
        Some((distance?, name))
    });
    if let Some((_, near)) = near.min() {
        return Some(format!("did you mean {}?", shown(near)));
    }
    let is_same = |name: &&String| Path::new(name).extension().is_some_and(|other| other == end);
    let named: Vec<_> = names.iter().filter(is_same).take(MAX_NAMED).map(shown).collect();
    (!named.is_empty()).then(|| format!("choose from: {}", named.join(", ")))
}

/// Returns the problem of a text that is not UTF-8. `first_line` is the number of its first line.
pub(crate) fn not_utf8(path: &str, first_line: usize, bytes: &[u8]) -> Problem {
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let (before, after) = bytes.split_at(valid);
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rest = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[start..valid + rest.len()]);
    let source = Source::new(path, &text, first_line + line_breaks(before));
    let at = valid - start;
    let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
    Problem::new("the text is not UTF-8").at(Place::new(&source, span, "not UTF-8 from here"))
}
