//! Writes reports into files, and replaces an older file only once the new one is whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use runner_model::visible::{quoted, shown_path};
use runner_report::{Form, FormError, FormOptions, RunDocument};

use crate::text::{CommandError, mistake};

/// A file for a report, and its form.
#[derive(Clone, Debug)]
pub struct ReportFile {
    pub path: PathBuf,
    pub form: Form,
}

impl ReportFile {
    /// Parses a path whose extension is that of a form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let form =
            Form::of_path(&path).ok_or("expected a file that ends in .html, .xml, .md or .csv")?;
        check(&path)?;
        Ok(Self { path, form })
    }

    /// Parses a path of JUnit's XML, with any extension.
    pub fn parse_junit(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        check(&path)?;
        Ok(Self { path, form: Form::Junit })
    }

    /// Writes the report of a run. A device or a pipe is written into, and the file that a link leads to is replaced.
    pub fn write(&self, document: &RunDocument, options: FormOptions) -> Result<(), CommandError> {
        check(&self.path).map_err(|problem| {
            let file = quoted(&self.path.to_string_lossy());
            mistake!("cannot write the report to {file}: {problem}")
        })?;
        replace(&self.path, |writer| self.form.write(document, options, writer)).map_err(|error| {
            match error {
                FormError::Record(error) => error.into(),
                FormError::Io(error) => CommandError::cannot_write(&self.path, &error),
            }
        })
    }
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
        return Err("a report may not replace a scenario or a file of a run; name a file that ends in .html, .xml, .md or .csv".to_owned());
    }
    Ok(())
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), FormError>,
) -> Result<(), FormError> {
    // A rename would replace the file to which a stream is redirected.
    let stream = match path.to_str() {
        Some("/dev/stdout") => Some(io::stdout().as_fd().try_clone_to_owned()?),
        Some("/dev/stderr") => Some(io::stderr().as_fd().try_clone_to_owned()?),
        _ => None,
    };
    if let Some(stream) = stream {
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
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        // The library's error names the temporary file.
        .map_err(|error| io::Error::from(error.kind()))?;
    write_into(file.as_file(), write)?;
    // In the folder of a run, a report is as private as the run.
    let like = old.or_else(|| fs::metadata(target.with_file_name("benchmark.json")).ok());
    if let Some(like) = like {
        file.as_file().set_permissions(like.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
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

/// Follows links, also to a file that does not exist.
fn link_target(path: &Path) -> io::Result<PathBuf> {
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}
