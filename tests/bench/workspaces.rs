//! Attempts in workspaces against the same ones without, and against `cp -a` and `rm -r` of the base.

use std::path::Path;
use std::{fs, process::Command};

use super::{Bench, Done, Figure, measured};

/// Files of the base, and bytes of all of them.
const FILES: u64 = 5_000;
const BYTES: u64 = 200 << 20;
/// Files of a folder.
const FOLDER: u64 = 100;
/// Copies of a round.
const COPIES: u64 = 5;

impl Bench {
    /// Prints the cost of a file of the base and an attempt. That of each worker's copy of the base is left out.
    pub(super) fn workspaces(&self, rounds: u64) -> Done {
        let base = self.folder.path().join("base");
        for number in 0..FILES {
            let folder = base.join((number / FOLDER).to_string());
            fs::create_dir_all(&folder)?;
            let content = vec![(number % 251) as u8; (BYTES / FILES) as usize];
            fs::write(folder.join(number.to_string()), content)?;
        }
        let scenarios = [1, self.n].map(|tests| {
            let plain = self.scenario(&self.guests[1], tests)?;
            let text = fs::read_to_string(&plain)?;
            let keys = "workspace = { from = \"base\" }\n[[test";
            let within = self.folder.path().join(format!("workspaces-{tests}.toml"));
            fs::write(&within, text.replacen("[[test", keys, 1))?;
            Done::Ok([plain, within])
        });
        let [one, all] = scenarios;
        let (one, all) = (one?, all?);
        let mut figures = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for side in 0..2 {
                figures[side].push(self.difference(&one[side], &all[side])?.each(FILES));
            }
            let (_, cost) = measured(|| (0..COPIES).try_for_each(|_| copy(&base)))?;
            figures[2].push(cost.each(COPIES).each(FILES));
        }
        let [plain, within, copies] = figures.map(|costs| Figure::new(&costs));
        println!(
            "\n{} attempts on {FILES} files, {} MiB, µs per file and attempt, {rounds} rounds",
            self.n,
            BYTES >> 20
        );
        println!("  without a workspace {plain}\n  in a workspace      {within}");
        println!("  cp -a and rm -r     {copies}");
        let ratio = copies.wall / (within.wall - plain.wall).max(f64::EPSILON);
        println!("  cp -a and rm -r / (in a workspace - without): {ratio:.1}");
        Ok(())
    }

    /// Returns the cost of an attempt, from runs with one and with all.
    fn difference(&self, one: &Path, all: &Path) -> Done<super::Cost> {
        let [one, all] = [self.exec(one, 1)?, self.exec(all, 1)?];
        let attempts = self.n.saturating_sub(1).max(1);
        let cost = super::Cost { wall: all.wall - one.wall, cpu: all.cpu - one.cpu };
        Ok(cost.each(attempts))
    }
}

fn copy(base: &Path) -> Done {
    let copy = base.with_extension("copy");
    let copied = Command::new("cp").arg("-a").args([base, &copy]).status()?;
    let removed = Command::new("rm").arg("-r").arg(&copy).status()?;
    if copied.success() && removed.success() { Ok(()) } else { Err("cannot copy the base".into()) }
}
