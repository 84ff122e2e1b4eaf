//! The crate `toml` as an ordinary decoder for toml-test: TOML on stdin, tagged JSON on stdout, exit 1 when invalid.
//!
//! The program does not use the SDK: any program of this kind, compiled to WASI, is a provider.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use toml_tagged::toml_rs;

fn main() -> ExitCode {
    match convert() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the exit code is enough.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn convert() -> Result<(), Box<dyn std::error::Error>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let json = toml_rs::decode(std::str::from_utf8(&bytes)?)?;
    writeln!(io::stdout(), "{json}")?;
    Ok(())
}
