//! The parts of a benchmark, and the table of figures that they print.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use super::lists::Lists;

/// What chooses a part, and the part.
pub(crate) type Part = (&'static str, fn(&mut Bench));

/// How much larger than in the table that it is compared with a ratio may be: what is left of the noise of a machine once two
/// things were measured in turns.
const TOLERANCE: f64 = 1.15;

/// What the parts share.
pub(crate) struct Bench {
    pub(crate) lists: Lists,
    is_quick: bool,
    missed: u32,
    /// By name; of each, less is better. They say more than times, which another machine does not have.
    ratios: BTreeMap<String, f64>,
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    is_quick: bool,
    parts: Vec<String>,
    save: Option<String>,
    against: Option<String>,
}

/// Measures the parts that the command line names, or all of them. Fails where a ratio is worse than in the table of `--against`.
pub(crate) fn measure(parts: &[Part]) -> ExitCode {
    // All of it first: a name that is mistyped must not cost an hour.
    let asked = Asked::read(parts, std::env::args().skip(1));
    let read = asked.and_then(|asked| {
        let against = asked.against.as_deref().map(read_ratios).transpose()?;
        Ok((asked, against))
    });
    let (asked, against) = match read {
        Ok(read) => read,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::from(2);
        }
    };

    let mut bench = Bench {
        lists: Lists::new(),
        is_quick: asked.is_quick,
        missed: 0,
        ratios: BTreeMap::new(),
    };
    for (part, measure) in parts {
        if asked.parts.is_empty() || asked.parts.iter().any(|asked| asked == part) {
            measure(&mut bench);
        }
    }
    match bench.missed {
        0 => println!("\nall bounds hold"),
        missed => println!("\n{missed} bounds MISSED"),
    }
    if let Some(file) = asked.save {
        let text = serde_json::to_string_pretty(&bench.ratios).expect("numbers have a form");
        fs_err::write(file, text + "\n").expect("the table can be written");
    }
    match against {
        Some(before) if bench.is_worse_than(&before) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

impl Asked {
    fn read(parts: &[Part], mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo itself adds this.
                "--bench" => {}
                "--quick" => asked.is_quick = true,
                "--save" | "--against" => {
                    let file = words.next();
                    let file = Some(file.ok_or_else(|| format!("`{word}` needs a file"))?);
                    match word.as_str() {
                        "--save" => asked.save = file,
                        _ => asked.against = file,
                    }
                }
                part if parts.iter().any(|(known, _)| *known == part) => asked.parts.push(word),
                _ => {
                    let known: Vec<_> = parts.iter().map(|(part, _)| *part).collect();
                    let known = known.join(", ");
                    return Err(format!("unknown part `{word}`; there are {known}"));
                }
            }
        }
        Ok(asked)
    }
}

fn read_ratios(file: &str) -> Result<BTreeMap<String, f64>, String> {
    let text = fs_err::read_to_string(file).map_err(|error| error.to_string())?;
    serde_json::from_str(&text)
        .map_err(|error| format!("`{file}` is no table as `--save` writes it: {error}"))
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

    /// Prints a ratio, of which less is better, and keeps it for `--save` and `--against`.
    pub(crate) fn ratio(&mut self, name: &str, ratio: f64, bound: Option<f64>) {
        match bound {
            Some(bound) => self.bounded(&format!("  {name}"), ratio, "times", bound),
            None => figure(&format!("  {name}"), ratio, "times"),
        }
        self.ratios.insert(name.to_owned(), ratio);
    }

    /// Prints what has changed, and tells whether a ratio has become worse than noise makes it.
    fn is_worse_than(&self, before: &BTreeMap<String, f64>) -> bool {
        title("against the stored table");
        let mut is_worse = false;
        for (name, ratio) in &self.ratios {
            let Some(before) = before.get(name) else {
                println!("  {name:<42} {ratio:>10.3} times, and not in the table");
                continue;
            };
            let change = ratio / before;
            is_worse |= change > TOLERANCE;
            let word = if change > TOLERANCE { "WORSE" } else { "ok" };
            println!("  {name:<42} {before:>10.3} → {ratio:.3} times: {word}");
        }
        // Such as those of parts that were not asked for.
        let missing = before
            .keys()
            .filter(|name| !self.ratios.contains_key(*name));
        match missing.count() {
            0 => {}
            missing => println!("  {missing} of the table were not measured"),
        }
        is_worse
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
