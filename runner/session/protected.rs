//! What no guest may write to because this process reads or writes it, beside what a plan is made of.
//!
//! Each list is made of all of a request, field by field: whoever adds a field is asked by the compiler whether it names
//! something that belongs here. The rule is by place and identity, and it is why what is written in a run's directory after
//! a guest ran can be written by path.

use std::path::{Path, PathBuf};

use super::{
    Host, Rescore, Resume, Start,
    engine::{self, CERTIFICATES},
};
use crate::{record, run::Protected};

/// Where Cargo and rustup are, and what they read, if no variable says: below the home folder.
const CARGO: [(&str, &str); 2] = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];

/// What every command uses that calls guests: in a folder of compiled plugins a guest could leave code for the host, among
/// temporary folders it could change those of other attempts, and in one of programs it could leave a compiler.
pub(super) fn of_process(host: &Host) -> Vec<Protected> {
    let Host {
        program,
        cache,
        scratch_root,
        search_path,
        variable,
        signals: _,
        overdue: _,
        log: _,
        arguments: _,
        now: _,
        pause: _,
        pools_sandboxes: _,
    } = host;
    let cache = cache.as_deref();
    let cache = cache.map(|cache| Protected::folder("the cache of compiled plugins", cache));
    let home = variable("HOME").filter(|home| !home.is_empty());
    let tools = CARGO.into_iter().filter_map(|(name, below)| {
        let named = variable(name).filter(|folder| !folder.is_empty());
        let usual = || Some(Path::new(home.as_ref()?).join(below));
        named.map(PathBuf::from).or_else(usual)
    });
    let mut protected: Vec<_> = cache.into_iter().collect();
    protected.extend([
        Protected::file("the temporary folder", scratch_root),
        Protected::file("the runner's program", program),
    ]);
    let programs = std::env::split_paths(search_path).filter(|folder| folder.is_absolute());
    protected.extend(programs.map(|folder| Protected::file("a folder of programs", &folder)));
    protected.extend(tools.map(|folder| Protected::folder("a folder of build tools", &folder)));
    let trusted = CERTIFICATES.into_iter().filter_map(variable);
    let trusted = trusted.flat_map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    let trusted = trusted.filter(|path| !path.as_os_str().is_empty());
    protected
        .extend(trusted.map(|path| Protected::file("the certificates that are trusted", &path)));
    protected
}

/// What a run that is to begin uses; it is not there yet.
pub(super) fn of_start(request: &Start, host: &Host) -> Vec<Protected> {
    let Start {
        // The plan has it, with all that it names.
        scenario: _,
        secret_files,
        into,
        results,
        selection: _,
        overrides: _,
        build: _,
        exclusivity: _,
        engine: _,
    } = request;
    let mut protected = match into {
        Some(dir) => of_run(dir, &dir.join(".."), host),
        None => {
            let mut protected = vec![Protected::folder("the results root", results)];
            protected.extend(of_root(results, host));
            protected
        }
    };
    protected.extend(of_secrets(secret_files));
    protected.extend(of_process(host));
    protected
}

/// What going on with a run of a results root uses.
pub(super) fn of_resume(request: &Resume, root: &Path, host: &Host) -> Vec<Protected> {
    let Resume {
        run,
        secret_files,
        overrides: _,
        rerun: _,
        accept_changes: _,
        force: _,
        engine: _,
    } = request;
    let mut protected = of_run(&run.dir, root, host);
    protected.extend(of_secrets(secret_files));
    protected.extend(of_process(host));
    protected
}

/// What judging a run of a results root again uses.
pub(super) fn of_rescore(request: &Rescore, root: &Path, host: &Host) -> Vec<Protected> {
    let Rescore {
        run,
        secret_files,
        // The plan has it, with all that it names.
        scenario: _,
        filter: _,
        is_dry_run: _,
        asks_graders: _,
    } = request;
    let mut protected = of_run(&run.dir, root, host);
    protected.extend(of_secrets(secret_files));
    protected.extend(of_process(host));
    protected
}

fn of_run(dir: &Path, root: &Path, host: &Host) -> Vec<Protected> {
    let mut protected = vec![Protected::file("the results root", root)];
    protected.push(Protected::folder("the run", dir));
    protected.extend(of_root(root, host));
    protected
}

/// What is kept in a results root beside its runs; links may have led it elsewhere.
pub(super) fn of_root(root: &Path, host: &Host) -> Vec<Protected> {
    let kept = record::kept_in_root(root).into_iter();
    let mut protected: Vec<_> = kept
        .map(|(what, path)| Protected::folder(what, &path))
        .collect();
    let cache = engine::engine_options(host, root, None).cache;
    protected.push(Protected::folder("the cache of compiled plugins", &cache));
    protected
}

/// Files that secrets are read from.
pub(super) fn of_secrets(files: &[PathBuf]) -> impl Iterator<Item = Protected> {
    let files = files.iter();
    files.map(|path| Protected::file("a file of secrets", path))
}
