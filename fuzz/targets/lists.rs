//! A test list of any content becomes a suite with a line of JSON for each test, or its mistakes are shown with their places.
//! The first byte selects the format, and whether the records are tests or the input of tests.
#![no_main]

mod problems;
mod still;

use std::{
    fs::{self, File},
    io::{self, Seek as _},
};

use libfuzzer_sys::fuzz_target;
use problems::assert_shown;
use runner_model::SetVars;
use runner_scenario::{Selection, load, resolve};
use serde_json::Value;
use tempfile::TempDir;

const FORMATS: [&str; 4] = ["csv", "json", "jsonl", "toml"];
const PROVIDER: &str = "[providers.p]\nplugin = 'bundled:echo'\n[[test_lists]]\n";
const RECORDS: &str = "id = 'r{{row_number}}'\ninput = { record = '{{row}}' }\n";

thread_local! {
    // In memory, because writing to a disk would take most of the time.
    static FOLDER: TempDir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("there is room for temporary files");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, content)) = bytes.split_first() else { return };
    let format = FORMATS[usize::from(choice % 4)];
    let keys = if choice & 4 == 0 { "" } else { RECORDS };
    FOLDER.with(|folder| check(folder, format, keys, content).expect("files can be written"));
});

fn check(folder: &TempDir, format: &str, keys: &str, content: &[u8]) -> io::Result<()> {
    let path = folder.path().join("scenario.toml");
    fs::write(&path, format!("{PROVIDER}{keys}files = ['list.{format}']\n"))?;
    fs::write(folder.path().join(format!("list.{format}")), content)?;
    let scenario = load(&path, &SetVars::default()).expect("the scenario is valid");
    let mut file = tempfile::tempfile_in(folder.path())?;
    match resolve(&scenario, &Selection::default(), &mut file) {
        Ok(suite) => {
            let lines = lines(file)?;
            assert_eq!(lines.len() as u64, u64::from(suite.tests()));
            assert!(lines.iter().all(|line| line["id"].is_string()));
        }
        Err(problems) => assert_shown(&problems, &String::from_utf8_lossy(content)),
    }
    Ok(())
}

fn lines(mut file: File) -> io::Result<Vec<Value>> {
    file.rewind()?;
    let text = io::read_to_string(file)?;
    Ok(text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect())
}
