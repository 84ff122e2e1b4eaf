//! [`WEB`]: the pages of `runner serve`, of which a report as HTML is a part.

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../web/", $name)).as_slice())),*]
    };
}

/// Files by their path below `web`. A test compares the list with the folder.
pub static WEB: &[(&str, &[u8])] = &files! {
    "app.css"
    "base/actions.js"
    "base/api.js"
    "base/chart.js"
    "base/dialog.js"
    "base/diff.js"
    "base/json.js"
    "base/keys.js"
    "base/live.js"
    "base/pages.js"
    "base/problem.js"
    "base/report.js"
    "base/router.js"
    "base/rows.js"
    "base/ui.js"
    "base/visible.js"
    "base/words.js"
    "index.html"
    "main.js"
    "pages.css"
    "pages/about.js"
    "pages/activity.js"
    "pages/calls.js"
    "pages/changes.js"
    "pages/compare.js"
    "pages/failures.js"
    "pages/files.js"
    "pages/history.js"
    "pages/log.js"
    "pages/matrix.js"
    "pages/overview.js"
    "pages/queue.js"
    "pages/reason.js"
    "pages/run.js"
    "pages/runs.js"
    "pages/start.js"
    "pages/tables.js"
    "pages/timeline.js"
    "pages/transcript.js"
    "pages/trial.js"
    "pages/trials.js"
    "report.js"
};

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::{collections::BTreeSet, fs};

    use super::WEB;

    fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else {
                found.insert(path);
            }
        }
    }

    #[test]
    fn all_files_of_the_folder_are_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut found = BTreeSet::new();
        files(&folder, &mut found);
        let served = WEB.iter().map(|(name, _)| folder.join(name)).collect();
        assert_eq!(found, served);
    }
}
