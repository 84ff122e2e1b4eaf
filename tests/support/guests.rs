//! Guests for tests, built at most once per process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// Bound of a build. Cargo may first have to wait for another build in the same folder.
const BUILD_WITHIN: Duration = Duration::from_secs(1800);

/// Components, from `tests/guests`.
const COMPONENTS: [&str; 12] = [
    "hostile",
    "stuck",
    "counter",
    "files",
    "web",
    "leaky",
    "async",
    "async-provider",
    // For published contracts.
    "contract-0-1-0-pure",
    "contract-0-1-0-plugin",
    "contract-0-1-0-lifecycle",
    "contract-0-1-1-everything",
];
/// Programs, from the same folder.
const PROGRAMS: [&str; 2] = ["command", "files-command"];

/// Returns the root of the repository.
pub(crate) fn root() -> &'static Path {
    let mut parents = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    parents.nth(2).expect("`runner/cli` is two levels below the root")
}

/// Returns the guest with this name as a component.
pub(crate) fn component(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| build("wasm32-wasip2", &COMPONENTS));
    folder.join(format!("guest_{}.wasm", name.replace('-', "_")))
}

/// Returns the program `guest-command`, which follows its arguments, as a preview 1 module.
pub(crate) fn command() -> PathBuf {
    let [module, _] = programs("command");
    module
}

/// Returns the program `guest-list`, the plugin of a test list.
pub(crate) fn list() -> PathBuf {
    let [module, _] = programs("list");
    module
}

/// Returns the program with this name as a preview 1 module and as a component.
pub(crate) fn programs(name: &str) -> [PathBuf; 2] {
    static FOLDERS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let targets = ["wasm32-wasip1", "wasm32-wasip2"];
    let folders = FOLDERS.get_or_init(|| targets.map(|target| build(target, &PROGRAMS)));
    folders.each_ref().map(|folder| folder.join(format!("guest-{name}.wasm")))
}

/// Builds guests. Returns their folder.
fn build(target: &str, guests: &[&str]) -> PathBuf {
    let folder = root().join("target/guests");
    add_target(target);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    cargo.args(["build", "--quiet", "--profile", "plugin"]);
    cargo.args(["--target", target, "--target-dir"]).arg(&folder);
    for guest in guests {
        cargo.arg(format!("--package=guest-{guest}"));
    }
    // Flags for the tests, such as coverage, are not for guests.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // It is set to report the time of each test.
    cargo.env_remove("RUSTC_BOOTSTRAP");
    run(&mut cargo);
    folder.join(target).join("plugin")
}

/// Installs a target. Some versions of rustup do not install those of `rust-toolchain.toml` by themselves.
fn add_target(target: &str) {
    let mut libraries = Command::new("rustc");
    // It only prints a path.
    let printed = libraries.args(["--print", "target-libdir", "--target", target]).output();
    let libraries = String::from_utf8(printed.unwrap().stdout).unwrap();
    if !Path::new(libraries.trim()).exists() {
        run(Command::new("rustup").args(["target", "add", target]));
    }
}

fn run(command: &mut Command) {
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < BUILD_WITHIN, "it does not end: {command:?}");
        // The poll of the wait. The unit tests of `sandbox` have this file without the rest of the support.
        thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{command:?}: {status}");
}

/// Returns a program that needs many seconds to compile, and ends immediately: long functions that nothing calls.
pub(crate) fn long_to_compile() -> Vec<u8> {
    steps_to_compile(300_000)
}

/// Returns such a program whose functions have `steps` steps. Others have other digests.
pub(crate) fn steps_to_compile(steps: u32) -> Vec<u8> {
    const FUNCTIONS: usize = 8;
    let section = |id: u8, content: &[u8]| [&[id][..], &counted(content)].concat();
    // In each step the local becomes the word in memory at its value. A load may trap, so no step is optimized away.
    let step = [0x20, 0, 0x28, 2, 0, 0x21, 0];
    let mut body = vec![1, 1, 0x7f];
    (0..steps).for_each(|_| body.extend(step));
    body.push(0x0b);
    let mut code = vec![FUNCTIONS as u8 + 1];
    code.extend(counted(&[0, 0x0b]));
    (0..FUNCTIONS).for_each(|_| code.extend(counted(&body)));
    let functions = [&[FUNCTIONS as u8 + 1][..], &[0; FUNCTIONS + 1]].concat();
    let start = [&[1, 6][..], b"_start", &[0, 0]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &functions),
        section(5, &[1, 0, 1]),
        section(7, &start),
        section(10, &code),
    ]
    .concat()
}

/// Prefixes bytes with their length in LEB128.
pub(crate) fn counted(content: &[u8]) -> Vec<u8> {
    let (mut length, mut bytes) = (content.len(), Vec::new());
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// Returns a module in text form that prints `text`.
pub(crate) fn printing(text: &str) -> String {
    let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 4)
          (data (i32.const 64) "{bytes}")
          (func (export "_start")
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const {}))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        text.len()
    )
}
