//! What the fuzz targets in `fuzz/` look for: one function each, which panics where something does not hold.
//!
//! Only fuzzing and tests have this module. What is looked for stands in the rooms, beside what it is about. An input of
//! several parts has the byte `0xff` between them, which no text has.

pub use crate::{
    judge::fuzzing::replies,
    output::fuzzing::terminal,
    plugin::fuzzing::{
        addresses, artifacts, costs, grants, headers, protocol, redaction, sniff, surface, symbols,
    },
    record::fuzzing::{manifest, rows},
    run::fuzzing::schemas,
    scenario::fuzzing::{scenario, templates},
};

/// What a target does with one input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its program in `fuzz/targets` and of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 17] = [
    ("addresses", addresses),
    ("artifacts", artifacts),
    ("costs", costs),
    ("grants", grants),
    ("headers", headers),
    ("manifest", manifest),
    ("protocol", protocol),
    ("redaction", redaction),
    ("replies", replies),
    ("rows", rows),
    ("scenario", scenario),
    ("schemas", schemas),
    ("sniff", sniff),
    ("surface", surface),
    ("symbols", symbols),
    ("templates", templates),
    ("terminal", terminal),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use super::TARGETS;

    fn names(folder: &str) -> BTreeSet<String> {
        let entries = fs_err::read_dir(folder).unwrap();
        let names = entries.map(|entry| PathBuf::from(entry.unwrap().file_name()));
        let stem = |name: PathBuf| name.file_stem().unwrap().to_str().unwrap().to_owned();
        names.map(stem).collect()
    }

    #[test]
    fn what_fuzzing_has_tried_holds() {
        for (name, target) in TARGETS {
            let inputs = fs_err::read_dir(format!("fuzz/corpus/{name}")).unwrap();
            let inputs: Vec<_> = inputs.map(|entry| entry.unwrap().path()).collect();
            assert!(!inputs.is_empty(), "{name}");
            for path in inputs {
                let input = fs_err::read(&path).unwrap();
                let held = std::panic::catch_unwind(|| target(&input));
                assert!(held.is_ok(), "{}", path.display());
            }
        }
    }

    #[test]
    fn every_target_has_a_program_and_a_corpus() {
        let targets: BTreeSet<_> = TARGETS.map(|(name, _)| name.to_owned()).into();
        assert_eq!(names("fuzz/corpus"), targets);
        let mut programs = names("fuzz/targets");
        // What they share.
        assert!(programs.remove("memory"));
        assert_eq!(programs, targets);
        let manifest = fs_err::read_to_string("fuzz/Cargo.toml").unwrap();
        for name in targets {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")));
        }
    }
}
