//! Guests that only tests need, built once per run of the tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

const TARGET: &str = "wasm32-wasip2";

/// The compiled guest from `tests/guests/<name>`, or one of the bundled providers `echo`, `units`,
/// `http_provider` and `chat_provider`.
pub(crate) fn guest(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| build(TARGET, &packages()));
    // A library's file has its crate's name, a program's its package's.
    let names = [
        format!("guest_{}.wasm", name.replace('-', "_")),
        format!("guest-{name}.wasm"),
        format!("{name}.wasm"),
    ];
    names
        .iter()
        .map(|file| folder.join(file))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("there is a guest `{name}`"))
}

/// The program from `tests/guests/<name>` as a preview 1 module.
#[allow(dead_code, reason = "the benchmarks have no use for it")]
pub(crate) fn module(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let programs = ["guest-files-command".to_owned()];
    let folder = FOLDER.get_or_init(|| build("wasm32-wasip1", &programs));
    folder.join(format!("guest-{name}.wasm"))
}

/// The folder with these plugins from `plugins/`, as components or programs: `<crate>.wasm`.
#[allow(dead_code, reason = "most of what needs guests needs no others")]
pub(crate) fn plugins(names: &[&str]) -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    // Some are called like crates that they are made of.
    let package = |name: &&str| format!("path+file://{root}/plugins/{name}");
    build(TARGET, &names.iter().map(package).collect::<Vec<_>>())
}

fn build(target: &str, packages: &[String]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/guests");
    add_target(target);

    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--profile",
            "plugin",
            "--target",
            target,
            "--target-dir",
        ])
        .arg(&folder);
    for package in packages {
        cargo.arg("--package").arg(package);
    }
    // Those of the host, which the tests themselves may be measured or instrumented with.
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(&mut cargo);
    folder.join(target).join("plugin")
}

/// `rust-toolchain.toml` names the targets, but not every rustup installs what it names.
fn add_target(target: &str) {
    let rustc = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .expect("rustc can be run");
    let libraries = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
    if !Path::new(&libraries).exists() {
        run(Command::new("rustup").args(["target", "add", target]));
    }
}

fn packages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guests = fs_err::read_dir(root.join("tests/guests")).expect("there are guests");
    guests
        .map(|entry| entry.expect("the folder can be read").file_name())
        .map(|name| format!("guest-{}", name.to_string_lossy()))
        // The shortest one, the one whose configuration and input have schemas, and those that ask servers.
        .chain(
            [
                "echo",
                "units",
                "http-provider",
                "chat-provider",
                "toml-rs-decoder",
            ]
            .map(str::to_owned),
        )
        .collect()
}

fn run(command: &mut Command) {
    let status = command.status().expect("the command can be run");
    assert!(status.success(), "{command:?}: {status}");
}
