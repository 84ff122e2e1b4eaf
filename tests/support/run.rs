//! Files of a run, read without the program's own code.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A run directory.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
}

impl Run {
    /// Returns the runs of a results root, oldest first.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let entries = fs::read_dir(root).into_iter().flatten();
        let mut dirs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        // A killed `prune` leaves folders whose names start with a dot.
        dirs.retain(|dir| dir.join("benchmark.json").exists());
        dirs.retain(|dir| !dir.file_name().unwrap().as_encoded_bytes().starts_with(b"."));
        dirs.sort();
        dirs.into_iter().map(|dir| Self { dir }).collect()
    }

    pub(crate) fn id(&self) -> &str {
        self.dir.file_name().unwrap().to_str().unwrap()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), content).unwrap();
    }

    /// Changes the stored scenario. Its signature is invalid then: `trust` allows it.
    pub(crate) fn change_scenario(&self, from: &str, to: &str) {
        let (text, mut manifest) = (self.text("scenario.toml"), self.manifest());
        assert!(text.contains(from), "{text}");
        let text = text.replace(from, to);
        let sha256: String =
            Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        manifest["metadata"]["scenario_sha256"] = sha256.into();
        self.write("scenario.toml", text);
        self.write("benchmark.json", manifest.to_string());
    }

    pub(crate) fn manifest(&self) -> Value {
        self.text("benchmark.json").parse().unwrap()
    }

    /// Returns the process of the newest session. `None` if the run is being created.
    pub(crate) fn newest_process(&self) -> Option<u32> {
        let manifest = fs::read_to_string(self.dir.join("benchmark.json")).ok()?;
        let manifest: Value = manifest.parse().ok()?;
        Some(manifest["sessions"].as_array()?.last()?["pid"].as_u64()? as u32)
    }

    /// Returns the rows on disk. Fails on a wrong checksum. A torn last line is not a row, but a complete row without a
    /// line break is.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        let path = self.dir.join("index.jsonl");
        let index = if path.exists() { fs::read(path).unwrap() } else { Vec::new() };
        let lines = index.split_inclusive(|byte| *byte == b'\n');
        let rows = lines.filter_map(|line| match line.strip_suffix(b"\n") {
            Some(line) => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                Some(row(line).unwrap_or_else(|problem| panic!("{problem}")))
            }
            None => row(line).ok(),
        });
        rows.collect()
    }

    /// Returns the rows of a test, in the order of writing.
    #[track_caller]
    pub(crate) fn rows_of(&self, test: &str) -> Vec<Value> {
        let mut rows = self.rows();
        rows.retain(|row| row["test"] == test);
        rows
    }

    /// Returns the final row of a test with one trial.
    #[track_caller]
    pub(crate) fn row(&self, test: &str) -> Value {
        let mut rows = self.rows_of(test);
        rows.retain(|row| row["final"] == true);
        assert_eq!(rows.len(), 1, "final rows of `{test}`: {rows:?}");
        rows.remove(0)
    }

    /// Returns status, reason, signal and verdict.
    pub(crate) fn ending(&self) -> [String; 4] {
        let manifest = self.manifest();
        ["status", "reason", "signal", "verdict"]
            .map(|key| manifest[key].as_str().unwrap_or_default().to_owned())
    }

    /// Returns the number of planned trials.
    #[track_caller]
    pub(crate) fn planned(&self) -> u64 {
        let planned = &self.manifest()["metadata"]["planned_trial_count"];
        planned.as_u64().unwrap_or_else(|| panic!("`metadata.planned_trial_count` is {planned}"))
    }

    /// Returns the running attempts in `live.json`: trial and attempt number. Empty if the file is older than `since`,
    /// as another process may have left it.
    pub(crate) fn in_flight(&self, since: SystemTime) -> Vec<(String, u64)> {
        let path = self.dir.join("live.json");
        let is_new = fs::metadata(&path)
            .and_then(|file| file.modified())
            .is_ok_and(|written| written >= since);
        let live =
            if is_new { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let live: Value = live.parse().unwrap_or_default();
        let attempts = live["in_flight"].as_array().into_iter().flatten();
        let named = |attempt: &Value| {
            Some((attempt["trial"].as_str()?.to_owned(), attempt["attempt"].as_u64()?))
        };
        attempts.filter_map(named).collect()
    }

    /// Returns a count in the manifest.
    #[track_caller]
    pub(crate) fn count(&self, what: &str) -> u64 {
        let count = &self.manifest()["counts"][what];
        count.as_u64().unwrap_or_else(|| panic!("`counts.{what}` is {count}"))
    }
}

/// Parses a line without its line break. Checks the checksum.
fn row(line: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(line);
    // `parse` is compiled with optimizations, unlike a generic function of the tests' own.
    let row: Value = text.parse().map_err(|error: serde_json::Error| format!("{error}: {text}"))?;
    let key = text.rfind(",\"crc\":").ok_or(format!("no checksum: {text}"))?;
    let crc = format!("{:08x}", crc32(&line[..key]));
    if row["crc"] == crc { Ok(row) } else { Err(format!("the checksum is {crc}: {text}")) }
}

/// Returns a row's line with a correct checksum.
pub(crate) fn sealed(line: &str) -> String {
    let (content, _) = line.rsplit_once(",\"crc\":").unwrap();
    format!("{content},\"crc\":\"{:08x}\"}}", crc32(content.as_bytes()))
}

/// Returns the lines in `calls.jsonl` of an attempt with these entries, from the session with this entry of a manifest.
pub(crate) fn calls(
    trial: &str,
    attempt: u64,
    session: &Value,
    fingerprint: &str,
    entries: &[&str],
) -> Vec<String> {
    let (session, key) = (&session["number"], &session["key"]);
    let lines = (1..).zip(entries).map(|(line, entry)| {
        let line = format!(
            "{{\"v\":1,\"trial\":\"{trial}\",\"attempt\":{attempt},\"tries\":1,\"session\":{session},\"key\":{key},\"line\":{line},\"fingerprint\":\"{fingerprint}\",\"entry\":{entry},\"crc\":\"\"}}"
        );
        sealed(&line) + "\n"
    });
    lines.collect()
}

/// CRC-32 as in zip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    // A table for one byte makes it eight times as fast: some tests check many thousand rows.
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    let mut crc = u32::MAX;
    for byte in bytes {
        crc = (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    !crc
}
