//! What no guest may write to because this process reads or writes it, beside what a plan is made of.
//!
//! Each list is made of all that a command is told, field by field: whoever adds a field is asked by the compiler whether
//! it names something that belongs here.

use std::path::{Path, PathBuf};

use super::{Surroundings, live};
use crate::{
    cli::{ExecArgs, RehearseArgs, ResultsArgs, ResumeArgs, SecretsArgs},
    record,
    run::Protected,
    session::Host,
    toolchain,
};

/// What names the certificates that servers are checked by, instead of the system's.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Where Cargo and rustup are, and what they read, if no variable says: below the home folder.
const CARGO: [(&str, &str); 2] = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];

/// What every command uses that calls guests: in a folder of compiled plugins a guest could leave code for the host, among
/// temporary folders it could change those of other attempts, and in one of programs it could leave a compiler.
pub(super) fn of_process(surroundings: &Surroundings) -> Vec<Protected> {
    let Surroundings {
        host,
        arguments: _,
        is_detached: _,
        results: _,
        run: _,
        log_filter: _,
    } = surroundings;
    let Host {
        program,
        cache,
        scratch_root,
        search_path,
        variable,
        now: _,
        pause: _,
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

/// What `exec` uses; no run is there yet.
pub(super) fn of_exec(args: &ExecArgs, surroundings: &Surroundings) -> Vec<Protected> {
    let ExecArgs {
        // The plan has it, with all that it names.
        scenario: _,
        secrets,
        into,
        results: ResultsArgs { root },
        tests: _,
        providers: _,
        tags: _,
        exclude: _,
        repeat: _,
        jobs: _,
        timeout_minutes: _,
        limits: _,
        fail_fast: _,
        grace: _,
        build: _,
        dry_run: _,
        detach: _,
        exclusive: _,
        wait: _,
        json: _,
        talk: _,
    } = args;
    let mut protected = match into {
        Some(dir) => of_run(dir, &dir.join(".."), surroundings),
        None => {
            let mut protected = vec![Protected::folder("the results root", root)];
            protected.extend(of_root(root, surroundings));
            protected
        }
    };
    protected.extend(of_secrets(secrets));
    protected.extend(of_process(surroundings));
    protected
}

/// What `resume` uses, for the run in `dir` of a results root.
pub(super) fn of_resume(
    args: &ResumeArgs,
    dir: &Path,
    root: &Path,
    surroundings: &Surroundings,
) -> Vec<Protected> {
    let ResumeArgs {
        secrets,
        // The run says where it is.
        results: _,
        from: _,
        rerun: _,
        accept_changes: _,
        force: _,
        dry_run: _,
        explain: _,
        jobs: _,
        timeout_minutes: _,
        fail_fast: _,
        grace: _,
        json: _,
        talk: _,
    } = args;
    let mut protected = of_run(dir, root, surroundings);
    protected.extend(of_secrets(secrets));
    protected.extend(of_process(surroundings));
    protected
}

/// What `plugin run` uses; `plugin` is the file that was found for its argument.
pub(super) fn of_rehearsal(
    args: &RehearseArgs,
    plugin: &Path,
    surroundings: &Surroundings,
) -> Vec<Protected> {
    let RehearseArgs {
        file,
        input,
        config,
        attachments,
        stdin,
        secrets,
        artifacts,
        seed: _,
        timeout: _,
        repeat: _,
        protocol: _,
        output: _,
        args: _,
        grants: _,
        limits: _,
        fuel: _,
        json: _,
    } = args;
    let mut protected = Vec::new();
    if file.is_dir() {
        let folders = toolchain::folders(file);
        let folders = folders.iter();
        protected
            .extend(folders.map(|folder| Protected::folder("the source of the plugin", folder)));
    } else {
        protected.push(Protected::file("the plugin", file));
    }
    // One that was built is in another place than the argument says.
    protected.push(Protected::file("the plugin", plugin));
    let values = [
        ("the input", input),
        ("the configuration", config),
        ("the standard input", stdin),
    ];
    protected.extend(values.into_iter().filter_map(|(what, text)| {
        let path = text.as_deref()?.strip_prefix('@')?;
        Some(Protected::file(what, Path::new(path)))
    }));
    protected.extend(attachments.iter().filter_map(|text| {
        let (_, path) = text.split_once('=')?;
        Some(Protected::file("an attachment", Path::new(path)))
    }));
    let artifacts = artifacts.iter();
    protected
        .extend(artifacts.map(|folder| Protected::folder("the folder of its artifacts", folder)));
    protected.extend(of_root(&surroundings.results, surroundings));
    protected.extend(of_secrets(secrets));
    protected.extend(of_process(surroundings));
    protected
}

fn of_run(dir: &Path, root: &Path, surroundings: &Surroundings) -> Vec<Protected> {
    let mut protected = vec![Protected::file("the results root", root)];
    protected.push(Protected::folder("the run", dir));
    protected.extend(of_root(root, surroundings));
    protected
}

/// What is kept in a results root beside its runs; links may have led it elsewhere.
fn of_root(root: &Path, surroundings: &Surroundings) -> Vec<Protected> {
    let kept = record::kept_in_root(root).into_iter();
    let mut protected: Vec<_> = kept
        .map(|(what, path)| Protected::folder(what, &path))
        .collect();
    let cache = live::engine_options(surroundings, root).cache;
    protected.push(Protected::folder("the cache of compiled plugins", &cache));
    protected
}

fn of_secrets(args: &SecretsArgs) -> impl Iterator<Item = Protected> {
    let SecretsArgs { files } = args;
    let files = files.iter();
    files.map(|path| Protected::file("a file of secrets", path))
}
