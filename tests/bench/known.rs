//! Runs with a list of known failures against the same run without one.

use std::{fmt::Write as _, fs};

use super::{Bench, Cost, Done, Figure, measured, micros};

/// Entries of a list.
const ENTRIES: u64 = 10_000;

impl Bench {
    /// Prints the time to the first row and the cost of a whole run of `n` trials, which all pass.
    pub(super) fn known(&self, rounds: u64) -> Done {
        let plain = self.scenario(&self.guests[1], self.n)?;
        let text = fs::read_to_string(&plain)?;
        let mut scenarios = vec![("no list".to_owned(), plain)];
        for wild in [0, 100, ENTRIES] {
            let mut list = String::new();
            for number in 0..ENTRIES {
                let star = if number < wild { "*" } else { "" };
                let tests = format!("tests = [\"t{number}{star}\"]");
                writeln!(list, "[[failures]]\n{tests}\nreason = \"measured\"")?;
            }
            let name = format!("known-{wild}.toml");
            fs::write(self.folder.path().join(&name), list)?;
            let scenario = self.folder.path().join(format!("with-{name}"));
            fs::write(&scenario, format!("{text}[known]\nstrict = false\nfiles = [{name:?}]\n"))?;
            scenarios.push((format!("{wild} of {ENTRIES} with `*`"), scenario));
        }
        let mut starts = vec![Vec::new(); scenarios.len()];
        let mut wholes = starts.clone();
        for _ in 0..rounds {
            for (index, (_, scenario)) in scenarios.iter().enumerate() {
                let scenario_text = scenario.display().to_string();
                let (took, cost) = measured(|| self.first_row(&["exec", &scenario_text]))?;
                starts[index].push(Cost { wall: micros(took), ..cost }.each(1_000));
                wholes[index].push(self.exec(scenario, 2)?.each(1_000));
                fs::remove_dir_all(self.results())?;
            }
        }
        println!(
            "\nknown failures, {} trials, {rounds} rounds, ms: median (least to most)",
            self.n
        );
        let [starts, wholes] =
            [starts, wholes].map(|all| all.iter().map(|costs| Figure::new(costs)).collect());
        let (starts, wholes): (Vec<Figure>, Vec<Figure>) = (starts, wholes);
        for (index, (name, _)) in scenarios.iter().enumerate() {
            let (start, whole) = (&starts[index], &wholes[index]);
            println!(
                "  {name:24} first row {:8.1} (+{:.1})   whole {whole} (wall {:.3}, CPU {:.3} of the run without a list)",
                start.wall,
                start.wall - starts[0].wall,
                whole.wall / wholes[0].wall,
                whole.cpu / wholes[0].cpu
            );
        }
        Ok(())
    }
}
