//! The parts of a benchmark, and the table of figures that they print.

use std::time::Duration;

use super::lists::Lists;

/// What chooses a part, and the part.
pub(crate) type Part = (&'static str, fn(&mut Bench));

/// What the parts share.
pub(crate) struct Bench {
    pub(crate) lists: Lists,
    is_quick: bool,
    missed: u32,
}

/// Measures the parts that the command line names, or all of them.
pub(crate) fn measure(parts: &[Part]) {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Cargo itself adds `--bench`.
    let is_chosen = |part: &str| words.iter().any(|word| word == part);
    let is_part = |word: &String| parts.iter().any(|(part, _)| word == part);
    let is_known = |word: &String| is_part(word) || ["--bench", "--quick"].contains(&word.as_str());
    if let Some(word) = words.iter().find(|word| !is_known(word)) {
        let parts: Vec<_> = parts.iter().map(|(part, _)| *part).collect();
        println!("unknown part `{word}`; there are {}", parts.join(", "));
        return;
    }

    let mut bench = Bench {
        lists: Lists::new(),
        is_quick: is_chosen("--quick"),
        missed: 0,
    };
    for (part, measure) in parts {
        if is_chosen(part) || !words.iter().any(is_part) {
            measure(&mut bench);
        }
    }
    match bench.missed {
        0 => println!("\nall bounds hold"),
        missed => println!("\n{missed} bounds MISSED"),
    }
}

impl Bench {
    pub(crate) fn pick(&self, thorough: u64, quick: u64) -> u64 {
        if self.is_quick { quick } else { thorough }
    }

    /// Prints a line with a bound that the figure must not exceed.
    pub(crate) fn bounded(&mut self, name: &str, figure: f64, unit: &str, bound: f64) {
        let holds = figure <= bound;
        self.missed += u32::from(!holds);
        let word = if holds { "ok" } else { "MISSED" };
        println!("  {name:<42} {figure:>10.2} {unit:<9} at most {bound} {unit}: {word}");
    }

    /// The same for a peak of memory, which not every system tells.
    pub(crate) fn bounded_memory(&mut self, peak: Option<u64>, bound: f64) {
        match peak {
            Some(bytes) => self.bounded("resident", bytes as f64 / 1e6, "MB", bound),
            None => println!("  this system does not tell how much memory that was"),
        }
    }
}

pub(crate) fn title(text: &str) {
    println!("\n{text}");
}

pub(crate) fn figure(name: &str, figure: f64, unit: &str) {
    println!("  {name:<42} {figure:>10.2} {unit}");
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
