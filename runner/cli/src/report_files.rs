//! Writes reports into files, and replaces an older file only once the new one is whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use runner_model::visible::{quoted_path, shown_path};
use runner_record::advice;
use runner_report::{Form, FormError, FormOptions, RunDocument, write_report};
use runner_worker::changed_lines;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};

use crate::text::{CommandError, mistake};

/// Mode of a new report before the user's mask.
const MODE: u32 = 0o666;

/// A file for a report, and its form.
#[derive(Clone, Debug)]
pub struct ReportFile {
    pub path: PathBuf,
    pub form: Form,
}

/// Returns the options of every report except the summary of a CI job.
pub fn report_options(junit_strict: bool) -> FormOptions {
    FormOptions { junit_strict, ran_nothing: false, changed_lines: Some(changed_lines) }
}

impl ReportFile {
    /// Parses a path whose extension is that of a form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let form = Form::of_path(&path)
            .ok_or_else(|| format!("expected a file that ends in {}", Form::extensions()))?;
        Self { path, form }.checked()
    }

    /// Parses a path of JUnit's XML, with any extension.
    pub fn parse_junit(text: &str) -> Result<Self, String> {
        Self { path: PathBuf::from(text), form: Form::Junit }.checked()
    }

    /// Refuses a file that could not be written now: at the end of a run, its report would be lost.
    fn checked(self) -> Result<Self, String> {
        check(&self.path)?;
        match try_write(&self.path) {
            Ok(()) => Ok(self),
            Err(error) => {
                Err(format!("it cannot be written: {error}{}", advice(&self.path, &error)))
            }
        }
    }

    /// Empties an old report. A failure shows when the new one is written.
    pub fn empty(&self) {
        let is_file = fs::metadata(&self.path).is_ok_and(|old| old.is_file());
        if is_file && matches!(stream(&self.path), Ok(None)) {
            let _ = OpenOptions::new().write(true).truncate(true).open(&self.path);
        }
    }

    /// Writes the report of a run. A device or a pipe is written into, and the file that a link leads to is replaced.
    pub fn write(&self, document: &RunDocument, options: FormOptions) -> Result<(), CommandError> {
        write(&self.path, |writer| write_report(self.form, document, options, writer))
    }
}

/// Writes a file, as [`ReportFile::write`] does.
pub fn write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), FormError>,
) -> Result<(), CommandError> {
    check(path).map_err(|problem| {
        let file = quoted_path(path);
        mistake!("cannot write the report to {file}: {problem}")
    })?;
    replace(path, write).map_err(|error| match error {
        FormError::Record(error) => error.into(),
        FormError::Io(error) => CommandError::cannot_write(path, &error),
    })
}

/// Refuses a folder, a file in a folder that does not exist, and the files of runs and scenarios.
fn check(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err("it is a folder; name a file in it".to_owned());
    }
    let target = link_target(path).unwrap_or_else(|_| path.to_owned());
    let Some(folder) = target.parent() else { return Err("name a file".to_owned()) };
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        return Err(format!("there is no folder {}", shown_path(folder)));
    }
    let is_of_run = folder.join("benchmark.json").exists();
    let is_scenario = target.extension().is_some_and(|extension| extension == "toml");
    if (is_of_run || is_scenario) && Form::of_path(&target).is_none() {
        return Err(format!(
            "a report may not replace a scenario or a file of a run; name a file that ends in {}",
            Form::extensions()
        ));
    }
    Ok(())
}

/// Fails if a file could not be written now, and changes nothing.
fn try_write(path: &Path) -> io::Result<()> {
    if stream(path)?.is_some() {
        return Ok(());
    }
    match fs::metadata(path) {
        // Opening a pipe would wait for its reader.
        Ok(old) if !old.is_file() => return Ok(()),
        Ok(_) => drop(OpenOptions::new().write(true).open(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    tempfile::tempfile_in(folder_of(&link_target(path)?)).map(drop).map_err(|error| unnamed(&error))
}

/// Returns the stream that a path names. `None` for other paths.
fn stream(path: &Path) -> io::Result<Option<OwnedFd>> {
    Ok(match path.to_str() {
        Some("/dev/stdout") => Some(io::stdout().as_fd().try_clone_to_owned()?),
        Some("/dev/stderr") => Some(io::stderr().as_fd().try_clone_to_owned()?),
        _ => None,
    })
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns an error of a temporary file without the name of the file.
fn unnamed(error: &io::Error) -> io::Error {
    error.kind().into()
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), FormError>,
) -> Result<(), FormError> {
    // A rename would replace the file to which a stream is redirected.
    if let Some(stream) = stream(path)? {
        return write_into(&stream.into(), write);
    }
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return write_into(&OpenOptions::new().write(true).open(path)?, write);
    }
    if old.is_some() {
        // A rename would replace a file that is not writable. This fails.
        OpenOptions::new().write(true).open(path)?;
    }
    let target = link_target(path)?;
    let folder = folder_of(&target);
    let write = |file: &File| {
        write_into(file, write)?;
        // In the folder of a run, a report is as private as the run.
        let like = old.or_else(|| fs::metadata(target.with_file_name("benchmark.json")).ok());
        if let Some(like) = like {
            file.set_permissions(like.permissions())?;
        }
        Ok::<_, FormError>(file.sync_all()?)
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-");
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    // A process that is killed leaves no unnamed file. Some network file systems have none.
    if let Ok(file) = rustix::fs::open(folder, flags, Mode::from_raw_mode(MODE)) {
        let file = File::from(file);
        write(&file)?;
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        builder
            .make_in(folder, |path| Ok(linkat(CWD, &from, CWD, path, AtFlags::SYMLINK_FOLLOW)?))?
            .persist(&target)
            .map_err(|error| error.error)?;
    } else {
        let file = builder.permissions(Permissions::from_mode(MODE)).tempfile_in(folder);
        let file = file.map_err(|error| unnamed(&error))?;
        write(file.as_file())?;
        file.persist(&target).map_err(|error| error.error)?;
    }
    Ok(())
}

fn write_into(
    file: &File,
    write: impl FnOnce(&mut dyn Write) -> Result<(), FormError>,
) -> Result<(), FormError> {
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    Ok(writer.flush()?)
}

/// Follows links, also to a file that does not exist. A link out of its folder is refused: a checkout can bring one to a file of
/// the user, and guests determine the contents of a report.
fn link_target(path: &Path) -> io::Result<PathBuf> {
    const MOST_LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
            Err(_) if target == path || path.starts_with("/dev") || path.starts_with("/proc") => {
                return Ok(target);
            }
            Err(_) => {
                let folder = folder_of(path).canonicalize()?;
                // If it is missing, creating the file shows that.
                if !folder_of(&target).canonicalize().is_ok_and(|to| !to.starts_with(folder)) {
                    return Ok(target);
                }
                let target = shown_path(&target);
                let problem =
                    format!("it is a link out of its folder, to {target}; name that file");
                return Err(io::Error::other(problem));
            }
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}
