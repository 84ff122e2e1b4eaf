//! Parts of a trial's page, for other programs: [`open_part`] and [`save_parts`].

use std::{
    borrow::Cow,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use fs_err::{File, OpenOptions};
use miette::miette;
use serde_json::Value;

use crate::{
    error::{Error, ExitStatus},
    model::is_file_name,
    record::regular,
    view::{PageAttempt, PageFile, TrialPage},
};

/// Something of a page that can be a file.
struct PagePart<'a> {
    /// How it is asked for.
    name: &'a str,
    /// What its file is called.
    file: String,
    content: PartContent<'a>,
}

/// Where the bytes of a part are.
enum PartContent<'a> {
    Here(Cow<'a, [u8]>),
    File(&'a Path),
}

/// A part of an attempt, as it is handed out.
pub enum OpenPart {
    /// What its row has, which is never large.
    Bytes(Vec<u8>),
    /// A file, and how long it is.
    File(File, u64),
}

impl OpenPart {
    /// All of it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn read(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::File(mut file, _) => {
                let mut bytes = Vec::new();
                let read = file.read_to_end(&mut bytes);
                read.map_err(|error| Error::storage(miette!("{error}")))?;
                Ok(bytes)
            }
        }
    }

    fn copy_to(&mut self, target: &mut impl io::Write) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => target.write_all(bytes),
            Self::File(file, _) => io::copy(file, target).map(drop),
        }
    }
}

/// A part of the attempt that the page shows: an artifact by its name, or `input`, `output`, `log`, `stdout` or `stderr`,
/// where no artifact has that name.
///
/// # Errors
///
/// Fails if there is no such part, or if it cannot be opened.
pub fn open_part(page: &TrialPage, name: &str) -> Result<OpenPart, Error> {
    let parts = parts(page);
    if let Some(part) = parts.iter().find(|part| part.name == name) {
        return part.open();
    }
    let names: Vec<_> = parts
        .iter()
        .map(|part| format!("`{}`", part.name))
        .collect();
    let help = match names[..] {
        [] => "nothing of it can be opened".to_owned(),
        _ => format!("there is {}", names.join(", ")),
    };
    Err(Error {
        status: ExitStatus::NothingSelected,
        report: miette!(help = help, "trial `{}` has no `{name}`", page.trial),
    })
}

/// Writes all parts of the attempt that the page shows into a folder, which is made where it is missing; returns the files.
/// None is written over.
///
/// # Errors
///
/// Fails if a part cannot be read, or its file cannot be written.
pub fn save_parts(page: &TrialPage, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |path: &Path, error: &io::Error| {
        Error::storage(miette!("cannot write `{}`: {error}", path.display()))
    };
    fs_err::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut written = Vec::new();
    for part in parts(page) {
        let path = folder.join(&part.file);
        let mut source = part.open()?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.and_then(|mut file| source.copy_to(&mut file))
            .map_err(|error| failed(&path, &error))?;
        written.push(path);
    }
    Ok(written)
}

/// The parts of a page, each with a name of its own.
fn parts(page: &TrialPage) -> Vec<PagePart<'_>> {
    let shown = page.shown();
    let artifacts = shown.map_or(&[][..], |shown| &shown.artifacts);
    let mut parts: Vec<_> = artifacts
        .iter()
        // A damaged row may say anything.
        .filter(|file| is_file_name(&file.name))
        .map(PagePart::of_file)
        .collect();
    let own = [
        page.planned
            .as_ref()
            .map(|planned| ("input", of_value(&planned.input))),
        shown.and_then(|shown| Some(("output", of_value(shown.output.as_ref()?)))),
    ];
    let texts = shown.map_or([("", ""); 3], texts);
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let texts = texts.map(|(name, text)| (name, (extension(name), text.as_bytes().into())));
    for (name, (extension, bytes)) in own.into_iter().flatten().chain(texts) {
        if parts.iter().any(|part| part.name == name) {
            continue;
        }
        let mut file = format!("{name}.{extension}");
        if parts.iter().any(|part| part.file == file) {
            file = format!("runner-{file}");
        }
        parts.push(PagePart {
            name,
            file,
            content: PartContent::Here(bytes),
        });
    }
    parts
}

fn texts(attempt: &PageAttempt) -> [(&'static str, &str); 3] {
    let said = &attempt.said;
    [
        ("log", &said.log_text),
        ("stdout", &said.stdout),
        ("stderr", &said.stderr),
    ]
}

fn extension(name: &str) -> &'static str {
    match name {
        "log" => "jsonl",
        _ => "txt",
    }
}

/// A value as its file has it, and how such a file's name ends.
fn of_value(value: &Value) -> (&'static str, Cow<'_, [u8]>) {
    let mut text = serde_json::to_vec_pretty(value).expect("a value has string keys alone");
    text.push(b'\n');
    ("json", text.into())
}

impl<'a> PagePart<'a> {
    fn of_file(file: &'a PageFile) -> Self {
        Self {
            name: &file.name,
            file: file.name.clone(),
            content: PartContent::File(&file.path),
        }
    }

    fn open(&self) -> Result<OpenPart, Error> {
        match &self.content {
            PartContent::Here(bytes) => Ok(OpenPart::Bytes(bytes.to_vec())),
            PartContent::File(path) => {
                let open = || {
                    let file = regular::open(path)?;
                    let length = file.metadata()?.len();
                    Ok(OpenPart::File(file, length))
                };
                open().map_err(|error: io::Error| {
                    Error::storage(miette!("cannot read `{}`: {error}", self.name))
                })
            }
        }
    }
}
