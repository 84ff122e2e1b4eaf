//! [`weak_checks`]: notices about checks that pass whatever an attempt does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use runner_model::provider::PreparedProvider;
use runner_model::test::{Expect, Test};
use runner_model::units::{grouped, plural};
use runner_model::{Digest, globs::over_workspace, workspace::read_base};
use runner_prepare::ContentSource;
use runner_scenario::{Suite, similar};

use crate::error::{EngineError, machine_error};

/// Notices of a plan.
const MAX_NOTICES: usize = 20;
/// Characters that a path of a base may have more or less than a glob that was meant for it.
const MAX_LONGER: usize = 2;

/// The paths of files and folders below a base, by its digest.
type Bases = HashMap<Digest, BTreeSet<String>>;

/// Returns a notice for each check that cannot fail: empty tables, forbidden calls on plain commands, and unchanged files
/// that do not exist although others have almost their names. The same notice of several tests is one.
pub(super) fn weak_checks(
    suite: &Suite,
    providers: &[PreparedProvider],
    blobs: &ContentSource,
) -> Result<Vec<String>, EngineError> {
    let mut found = BTreeMap::<_, (u64, String)>::new();
    if !suite.may_be_weak() {
        return Ok(Vec::new());
    }
    let mut bases = Bases::new();
    let mut line = Vec::new();
    for number in 0..suite.tests() {
        suite.line(number, &mut line).map_err(machine_error)?;
        let test: Test<'_> =
            serde_json::from_slice(&line).map_err(|error| machine_error(error.into()))?;
        if !test.expect.may_be_weak() {
            continue;
        }
        let vacuous = test.expect.vacuous();
        let vacuous = vacuous.map(|(key, words)| {
            (format!("`{key}` of `expect` is empty"), format!("{words} passes"))
        });
        let mut weak: Vec<_> = vacuous.collect();
        weak.extend(calls(&test.expect, &test.providers, providers));
        weak.extend(unchanged(&test, blobs, &mut bases)?);
        for weak in weak {
            let (count, _) = found.entry(weak).or_insert_with(|| (0, test.id.to_string()));
            *count += 1;
        }
    }
    let left_out = found.len().saturating_sub(MAX_NOTICES) as u64;
    let notices = found.into_iter().take(MAX_NOTICES).map(|((check, reason), (count, id))| {
        let tests = match count {
            1 => format!("test `{id}`"),
            count => format!("{} tests, such as `{id}`", grouped(count)),
        };
        format!("{check} in {tests}: {reason}")
    });
    let left_out = (left_out > 0).then(|| {
        format!(
            "{} pass whatever an attempt does",
            plural(left_out, "further check", "further checks")
        )
    });
    Ok(notices.chain(left_out).collect())
}

/// Returns the weak check of a test that only forbids calls on a plain command, which can call nothing.
fn calls(expect: &Expect, of_test: &[u16], all: &[PreparedProvider]) -> Option<(String, String)> {
    let expected = expect.transcript.as_ref()?;
    let forbids = !expected.never.is_empty() || expected.max_calls.is_some();
    let plain = of_test.iter().map(|index| &all[usize::from(*index)]).find(|one| one.is_plain())?;
    let reason =
        format!("provider `{}` is a plain command, which can call no tool", plain.provider.name);
    forbids.then(|| ("`transcript` of `expect`".to_owned(), reason))
}

/// Returns the globs of `unchanged` that match nothing in any base of a test, if a base has something of almost the name. Others
/// forbid new files.
fn unchanged(
    test: &Test<'_>,
    blobs: &ContentSource,
    bases: &mut Bases,
) -> Result<Vec<(String, String)>, EngineError> {
    let globs = test.expect.workspace.iter().flat_map(|workspace| &workspace.unchanged);
    let mut weak = Vec::new();
    for glob in globs {
        let Ok(set) = over_workspace(&[glob]) else { continue };
        for base in test.bases.values().filter(|base| !bases.contains_key(base)).collect::<Vec<_>>()
        {
            bases.insert(*base, paths(&blobs.bytes(base)?)?);
        }
        let paths = || test.bases.values().filter_map(|base| bases.get(base)).flatten();
        if paths().any(|path| set.is_match(path)) {
            continue;
        }
        let exists = |path: &str| paths().any(|one| one == path);
        let matches = |near: &String| {
            over_workspace(&[near]).is_ok_and(|set| paths().any(|path| set.is_match(path)))
        };
        let near = paths().filter_map(|path| near(glob, path, exists)).find(matches);
        weak.extend(near.map(|near| {
            let reason = format!("no path in `base` matches; did you mean `{near}`?");
            (format!("`unchanged = [\"{glob}\"]`"), reason)
        }));
    }
    Ok(weak)
}

/// Returns the paths of a base, also those of its folders.
fn paths(lines: &[u8]) -> Result<BTreeSet<String>, EngineError> {
    let entries = read_base(lines).map_err(|error| machine_error(error.into()))?;
    let mut paths = BTreeSet::new();
    for entry in entries {
        let ends = entry.path.match_indices('/').map(|(end, _)| end);
        paths.extend(ends.chain([entry.path.len()]).map(|end| entry.path[..end].to_owned()));
    }
    Ok(paths)
}

/// Returns the glob with the path of a base in place of its start, if that does not exist and its last name may be a slip for that of
/// the path, or its singular.
fn near(glob: &str, path: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let level = path.split('/').count();
    let start = glob.match_indices('/').nth(level - 1).map_or(glob, |(end, _)| &glob[..end]);
    let ([above, name], [folder, known]) = (parted(start), parted(path));
    let is_slip = above == folder
        && !start.contains(['*', '?', '{', '\\'])
        && name.len().abs_diff(known.len()) <= MAX_LONGER
        && similar(name, iter::once(known)).is_some();
    (is_slip && !exists(start)).then(|| format!("{path}{}", &glob[start.len()..]))
}

/// Splits the folder off a path.
fn parted(path: &str) -> [&str; 2] {
    path.rsplit_once('/').map_or(["", path], |(folder, name)| [folder, name])
}
