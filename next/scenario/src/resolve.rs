//! [`resolve`]: reads all tests on threads, and writes the suite.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
    sync::mpsc::sync_channel,
    thread,
};

use crate::{
    document::Document,
    problem::{Problem, Problems},
    records::{AllTests, TestPiece},
    resolver::{ResolvedTest, Resolver, Resolving},
    scenario::Scenario,
    selection::Selection,
    suite::{Suite, SuiteBuilder, hash},
};

/// Problems of tests and lists that are shown.
const MAX_SHOWN: usize = 10;
/// More threads than these would wait for the one that writes the suite.
const MAX_THREADS: usize = 8;
/// Pieces that are under way in each thread.
const PIECES: usize = 2;

/// Reads all tests and lists, and writes the resolved and selected tests into `into`, an empty file: one line for each
/// test ([`runner_model::test::Test`]), in order.
///
/// # Errors
///
/// Problems of lists and tests. A selection that selects nothing is no problem: the suite has no trials.
///
/// # Panics
///
/// If the scenario is a stored one, whose lists may be gone.
pub fn resolve(
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    let is_stored = scenario.folder.as_os_str().is_empty();
    assert!(
        !is_stored,
        "the tests of a stored scenario are in its suite"
    );
    let file = into.try_clone().map_err(|error| cannot_write(&error))?;
    let document = Document::parse(&scenario.path, &scenario.text);
    let document = document.map_err(|problems| Problems::first(MAX_SHOWN, problems))?;
    let written = scenario.written(&document);
    let tests = AllTests::new(scenario, &written);
    let resolving = Resolving::new(scenario, selection)?;
    let mut writer = Writer {
        builder: SuiteBuilder::default(),
        out: BufWriter::with_capacity(64 << 10, into),
        hashes: Vec::new(),
        found: Problems::default(),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let lane = || {
        let (tests, mut resolver) = (&tests, Resolver::new(&resolving));
        move |piece| Resolved::of(piece, tests, &mut resolver)
    };
    let lanes = (0..cores.min(MAX_THREADS)).map(|_| lane()).collect();
    let ended = in_order(tests.pieces(), lanes, |piece| writer.add(&piece));
    if let ControlFlow::Break(problem) = ended {
        return Err(problem.into());
    }
    find_duplicates(&tests, &writer.hashes, &mut writer.found);
    if writer.found.count() > 0 {
        return Err(writer.found);
    }
    let Writer {
        builder, mut out, ..
    } = writer;
    out.flush().map_err(|error| cannot_write(&error))?;
    drop(out);
    Ok(builder.finish(file, &scenario.providers, resolving.blobs.into_paths()))
}

fn cannot_write(error: &dyn Display) -> Problem {
    Problem::new(format!("cannot write the suite: {error}"))
}

/// Does work on threads, one for each of `lanes`, and takes what comes of it in the order of the items.
fn in_order<T: Send, R: Send, B, F: FnMut(T) -> R + Send>(
    mut items: impl Iterator<Item = T>,
    lanes: Vec<F>,
    mut take: impl FnMut(R) -> ControlFlow<B>,
) -> ControlFlow<B> {
    thread::scope(|scope| {
        let start = |mut work: F| {
            let (sender, items) = sync_channel(PIECES);
            let (done, results) = sync_channel(PIECES);
            scope.spawn(move || items.into_iter().try_for_each(|item| done.send(work(item))));
            (sender, results)
        };
        let lanes: Vec<_> = lanes.into_iter().map(start).collect();
        let (mut sent, mut taken) = (0, 0);
        loop {
            // A lane has room for all that it is sent, so this never waits.
            while sent - taken < PIECES * lanes.len()
                && let Some(item) = items.next()
            {
                let _ = lanes[sent % lanes.len()].0.send(item);
                sent += 1;
            }
            if taken == sent {
                return ControlFlow::Continue(());
            }
            // A thread that has gone has panicked, and the scope goes on with that.
            let Ok(result) = lanes[taken % lanes.len()].1.recv() else {
                return ControlFlow::Continue(());
            };
            take(result)?;
            taken += 1;
        }
    })
}

/// What came of a piece.
struct Resolved {
    /// The lines of its tests, one after the other.
    lines: Vec<u8>,
    tests: Vec<Result<ResolvedTest, Vec<Problem>>>,
}

impl Resolved {
    fn of(piece: TestPiece, tests: &AllTests<'_>, resolver: &mut Resolver<'_>) -> Self {
        let mut resolved = Self {
            lines: Vec::new(),
            tests: Vec::new(),
        };
        tests.each(piece, &mut |test| {
            let test = match test {
                Ok((origin, test)) => resolver.resolve(origin, test, &mut resolved.lines),
                Err(problem) => Err(vec![problem]),
            };
            resolved.tests.push(test);
        });
        resolved
    }
}

/// Writes the suite.
struct Writer<'s> {
    builder: SuiteBuilder,
    out: BufWriter<&'s mut File>,
    /// Those of the ids of all tests, selected or not.
    hashes: Vec<u64>,
    found: Problems,
}

impl Writer<'_> {
    /// Adds the tests of a piece. Ends with a problem after which nothing more can be added.
    fn add(&mut self, piece: &Resolved) -> ControlFlow<Problem> {
        let mut lines = &piece.lines[..];
        for test in &piece.tests {
            match test {
                Ok(test) => {
                    let (line, rest) = lines.split_at(test.bytes);
                    lines = rest;
                    self.hashes.push(test.hash);
                    if !test.providers.is_empty()
                        && let Err(problem) = self.write(test, line)
                    {
                        return ControlFlow::Break(problem);
                    }
                }
                Err(problems) => {
                    for problem in problems {
                        self.found.add(MAX_SHOWN, problem.clone());
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn write(&mut self, test: &ResolvedTest, line: &[u8]) -> Result<(), Problem> {
        let pushed = self.builder.push(line, &test.providers, test.repeat);
        pushed.map_err(|bound| {
            Problem::new(format!("a run has at most {bound}, and these are more"))
                .with_help("choose some with `--test` or `--provider`, or write a smaller `repeat`")
        })?;
        let written = self.out.write_all(line);
        written
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|error| cannot_write(&error))
    }
}

/// Reports ids that are used twice. Only ids with equal hashes are read a second time.
fn find_duplicates(tests: &AllTests<'_>, hashes: &[u64], found: &mut Problems) {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    let twice: HashSet<u64> = twice.map(|pair| pair[0]).collect();
    if twice.is_empty() {
        return;
    }
    let mut seen = HashSet::new();
    let again = |hash: &&u64| twice.contains(hash) && !seen.insert(**hash);
    let again: Vec<&u64> = hashes.iter().filter(again).collect();
    let shown: HashSet<&u64> = again.iter().copied().take(MAX_SHOWN).collect();
    found.add_hidden(again.len().saturating_sub(MAX_SHOWN));
    let mut first = HashMap::new();
    for piece in tests.pieces() {
        // Problems with tests were reported the first time.
        tests.each(piece, &mut |test| {
            let Ok((origin, test)) = test else { return };
            if !shown.contains(&hash(&test.id)) {
                return;
            }
            match first.get(&test.id) {
                None => {
                    first.insert(test.id, origin.place("first here"));
                }
                Some(first) => {
                    let mut problem = Problem::new(format!("the id `{}` is used twice", test.id));
                    problem.places = [&origin.place("and again here"), &first[..]].concat();
                    found.add(MAX_SHOWN, problem);
                }
            }
        });
    }
}
