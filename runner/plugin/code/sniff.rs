//! [`sniff`]: tells what a WASM file is from its sections, without compiling it.

use super::{
    footprint::Footprint,
    sniff_error::SniffError,
    surface::{Surface, shortened},
    version::ContractVersion,
};

/// The package of the contract's interfaces.
const PACKAGE: &str = "runner:provider/";
const COMMAND: &str = "wasi:cli/run@0.2.";

/// What a plugin's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A component that exports the contract; called with typed values.
    Component {
        /// The version of the contract it was built for.
        contract: ContractVersion,
    },
    /// A WASI program; called with arguments and standard input.
    Command(CommandForm),
}

impl Kind {
    /// Tells from a file's content what it is, without compiling it.
    ///
    /// # Errors
    ///
    /// Fails on what is not a plugin.
    pub fn of(bytes: &[u8]) -> Result<Self, SniffError> {
        sniff(bytes).map(|(kind, _)| kind)
    }

    /// The word for it in manifests and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component { .. } => "component",
            Self::Command(_) => "command",
        }
    }
}

/// How a command is packaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandForm {
    /// A core module for WASI preview 1 that exports `_start`.
    Module,
    /// A component that exports `wasi:cli/run`.
    Component,
}

/// Tells what a file is and what its instances cost; an error completes the sentence "FILE …".
pub(in crate::plugin) fn sniff(bytes: &[u8]) -> Result<(Kind, Footprint), SniffError> {
    let surface = Surface::of(bytes)?;
    let kind = if surface.is_component {
        sniff_component(&surface)
    } else {
        sniff_module(&surface.exports)
    };
    Ok((kind?, surface.footprint))
}

fn sniff_module(exports: &[String]) -> Result<Kind, SniffError> {
    if !exports.iter().any(|name| name == "_start") {
        return Err(SniffError::NoStart);
    }
    Ok(Kind::Command(CommandForm::Module))
}

fn sniff_component(surface: &Surface) -> Result<Kind, SniffError> {
    let exports = &surface.exports;
    let served = |version: &str| {
        let known = ContractVersion::parse(version).filter(|version| version.is_served());
        known.ok_or_else(|| SniffError::OtherContract {
            guest: shortened(version).into_owned(),
        })
    };
    // Before the exports: a command may import the contract, too.
    for import in &surface.imports {
        let interface = import.name.strip_prefix(PACKAGE);
        if let Some((_, version)) = interface.and_then(|interface| interface.split_once('@')) {
            served(version)?;
        }
    }
    if let Some(version) = surface.contract() {
        return served(version).map(|contract| Kind::Component { contract });
    }
    if exports.iter().any(|name| name.starts_with(COMMAND)) {
        return Ok(Kind::Command(CommandForm::Component));
    }
    Err(SniffError::OtherWorld {
        exports: list(exports),
    })
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "nothing at all".to_owned();
    }
    let mut quoted: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", shortened(name)))
        .collect();
    if names.len() > SHOWN {
        quoted.push(format!("{} more", names.len() - SHOWN));
    }
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{CommandForm, ContractVersion, Kind, SniffError, sniff};

    fn sniff_text(text: &str) -> Result<Kind, SniffError> {
        sniff(&wat::parse_str(text).unwrap()).map(|(kind, _)| kind)
    }

    fn exporting(name: &str) -> String {
        format!(r#"(component (instance $i) (export "{name}" (instance $i)))"#)
    }

    #[test]
    fn a_file_that_is_no_wasm_is_named_as_what_it_is() {
        assert_eq!(sniff(b""), Err(SniffError::Empty));
        assert_eq!(sniff(b"#!/bin/sh\n"), Err(SniffError::NotWasm));
        let whole = wat::parse_str("(module (func (export \"_start\")))").unwrap();
        let cut = sniff(&whole[..whole.len() - 1]);
        assert!(matches!(cut, Err(SniffError::Damaged(_))), "{cut:?}");
        assert!(matches!(sniff(b"\0asm\x01"), Err(SniffError::Damaged(_))));
    }

    #[test]
    fn a_module_is_a_command_if_it_can_be_started() {
        let start = "(module (func (export \"_start\")))";
        assert_eq!(sniff_text(start), Ok(Kind::Command(CommandForm::Module)));
        assert_eq!(
            sniff_text("(module (func (export \"main\")))"),
            Err(SniffError::NoStart)
        );
        assert_eq!(
            sniff_text("(module (memory (export \"_start\") 1))"),
            Err(SniffError::NoStart)
        );
    }

    #[test]
    fn a_component_is_known_by_what_it_exports() {
        assert_eq!(
            sniff_text(&exporting("runner:provider/provider@0.1.0")),
            Ok(Kind::Component {
                contract: ContractVersion::HOST
            })
        );
        assert_eq!(
            sniff_text(&exporting("wasi:cli/run@0.2.6")),
            Ok(Kind::Command(CommandForm::Component))
        );
        let nested = format!("(component {})", exporting("wasi:cli/run@0.2.6"));
        assert_eq!(
            sniff_text(&nested).unwrap_err().to_string(),
            "is a component of another world: it exports neither `runner:provider/provider` nor `wasi:cli/run`, but \
             nothing at all"
        );
        assert!(
            sniff_text(&exporting("wasi:http/handler@0.2.0"))
                .unwrap_err()
                .to_string()
                .ends_with("but `wasi:http/handler@0.2.0`")
        );
    }

    #[test]
    fn the_hosts_version_is_that_of_its_contract() {
        let contract = include_str!("../../../schemas/provider.wit");
        let package = format!("package runner:provider@{};", ContractVersion::HOST);
        assert!(contract.contains(&package));
    }

    #[test]
    fn a_contract_of_another_version_is_refused_with_both_versions() {
        for (guest, remedy) in [
            ("0.2.0", "; it needs a newer runner"),
            ("1.0.0", "; it needs a newer runner"),
            ("0.1.1", "; it needs a newer runner"),
            ("0.0.9", ""),
            ("0.1.0-draft", ""),
        ] {
            let expected = format!(
                "is built for version {guest} of the contract `runner:provider`, and this runner speaks 0.1.0{remedy}"
            );
            let exported = exporting(&format!("{}{guest}", super::super::surface::CONTRACT));
            let import = format!(
                r#"(import "runner:provider/http@{guest}" (instance (export "open" (func))))"#
            );
            let imported = exporting("runner:provider/provider@0.1.0")
                .replace("(component", &format!("(component {import}"));
            for text in [exported, imported] {
                assert_eq!(sniff_text(&text).unwrap_err().to_string(), expected);
            }
        }
    }
}
