//! The reports that a session leaves in its run's directory. That one cannot be written changes nothing else.

use std::{
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use super::{Notice, Observe, report::report};
use crate::{
    plugin,
    record::write_report,
    report::{self as forms, ReportFormat},
    view::RunReport,
};

/// Writes the reports with these names of the run in `dir`, whose end is written down already.
pub(super) fn write(dir: &Path, names: &[String], observe: &mut dyn Observe) {
    if names.is_empty() {
        return;
    }
    // A bug in a report is no reason for another end of the session.
    let written = panic::catch_unwind(AssertUnwindSafe(|| write_all(dir, names, observe)));
    if let Err(panic) = written {
        tracing::warn!(
            "cannot write the reports of the run: {}; this is a bug, please report it",
            plugin::panic_text(&*panic)
        );
    }
}

fn write_all(dir: &Path, names: &[String], observe: &mut dyn Observe) {
    let made = match report(dir, None, |damage| tracing::warn!("{damage}")) {
        Ok(made) => made,
        Err(error) => {
            tracing::warn!("cannot write the reports of the run: {error}");
            return;
        }
    };
    for name in names {
        match write_one(dir, name, &made) {
            Ok(path) => observe.notice(&Notice::Report { path: &path }),
            Err(error) => {
                let path = dir.join(name);
                tracing::warn!("cannot write the report `{}`: {error}", path.display());
            }
        }
    }
}

fn write_one(dir: &Path, name: &str, made: &RunReport) -> std::io::Result<PathBuf> {
    let format = ReportFormat::of_file(Path::new(name)).unwrap_or(ReportFormat::Jsonl);
    write_report(dir, name, |to| forms::write(made, format, to))
}
