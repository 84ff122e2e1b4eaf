//! Builds the providers that the binary carries, for scenarios that name them as `bundled:NAME`.
//!
//! They are crates of this workspace, compiled for WASM by a cargo of their own into a target folder of their own: the one
//! that `runner exec --build` uses, so that every profile of the host shares what is built once. Where they cannot be built,
//! the program is built without them, and says so where a scenario asks for one.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// By what scenarios call them, which are their folders in `plugins`; and their crates.
const BUNDLED: [(&str, &str); 4] = [
    ("chat", "chat-provider"),
    ("echo", "echo"),
    ("http", "http-provider"),
    ("units", "units"),
];
const TARGET: &str = "wasm32-wasip2";

/// What cargo and clippy set for the build of the host. With it, guests would be compiled by other rules, and each time anew.
const OF_THE_HOST: [&str; 8] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "CARGO_TARGET_DIR",
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    for (name, _) in BUNDLED {
        println!("cargo::rerun-if-changed=plugins/{name}/src");
        println!("cargo::rerun-if-changed=plugins/{name}/Cargo.toml");
    }
    println!("cargo::rerun-if-changed=plugins/sdk");
    println!("cargo::rerun-if-changed=Cargo.lock");

    let mut list = String::from("&[\n");
    match build(&root, &guests_folder(&out), &out) {
        Ok(files) => {
            for (name, file) in files {
                writeln!(list, "    ({name:?}, include_bytes!({file:?})),").expect("it is text");
            }
        }
        Err(problem) => println!(
            "cargo::warning=built without `bundled:` plugins: {problem}; `rustup target add {TARGET}` installs what they need"
        ),
    }
    list.push_str("]\n");
    fs::write(out.join("bundled.rs"), list).expect("cargo's own folder can be written");
}

/// Where guests are built: beside the folders of the host's profiles.
fn guests_folder(out: &Path) -> PathBuf {
    // `target/PROFILE/build/NAME-HASH/out`
    let target = out.ancestors().nth(4).unwrap_or(out);
    target.join("guests")
}

/// Builds all of them and copies them to `out`, because others build in the folder of guests, too.
fn build(root: &Path, guests: &Path, out: &Path) -> Result<Vec<(&'static str, PathBuf)>, String> {
    add_target()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo.args([
        "build",
        "--quiet",
        "--target",
        TARGET,
        "--profile",
        "plugin",
    ]);
    cargo.arg("--target-dir").arg(guests);
    for (_, package) in BUNDLED {
        cargo.args(["--package", package]);
    }
    for name in OF_THE_HOST {
        cargo.env_remove(name);
    }
    run(&mut cargo)?;
    let built = guests.join(TARGET).join("plugin");
    let copy = |(name, package): (&'static str, &str)| {
        let file = built.join(package.replace('-', "_")).with_extension("wasm");
        let copied = out.join(name).with_extension("wasm");
        copy_changed(&file, &copied).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok((name, copied))
    };
    BUNDLED.into_iter().map(copy).collect()
}

/// Leaves a file alone that is as it should be: the program is compiled anew for one that is newer.
fn copy_changed(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(to, bytes)
}

/// Installs the standard library of guests where rustup has not done so by itself.
fn add_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot start rustc: {error}"))?;
    let folder = String::from_utf8_lossy(&asked.stdout);
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", TARGET]))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = command
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!("{program} failed: {}", last.unwrap_or("no reason")))
}
