//! The list of what a manifest decides.

use std::collections::BTreeMap;

use schemars::schema_for;

use super::{ADDED, ADDED_OF_SESSIONS, OF_SESSIONS, SIGNED};
use crate::Manifest;

#[test]
fn page_has_each_key_and_whether_it_is_signed() {
    let page = include_str!("../../../../../docs/design/foreign-roots.md");
    // The table of manifests, and that of sessions.
    let tables = page.split("\n\n").filter(|part| part.starts_with("| keys"));
    let tables: Vec<BTreeMap<&str, bool>> = tables
        .map(|table| {
            let rows = table.lines().skip(2).map(|row| row.split('|').map(str::trim));
            let cells = rows.map(|row| row.collect::<Vec<_>>());
            let keys = cells.flat_map(|cells| {
                let keys = cells[1].split('`').filter(|key| !key.trim().is_empty());
                keys.map(|key| (key, cells[3] == "yes")).collect::<Vec<_>>()
            });
            keys.collect()
        })
        .collect();
    let schema = schema_for!(Manifest).to_value();
    let found = ["/properties", "/$defs/SessionEntry/properties"];
    let signed = [[&SIGNED[..], &ADDED], [&OF_SESSIONS[..], &ADDED_OF_SESSIONS]];
    for ((place, signed), table) in found.iter().zip(signed).zip(tables) {
        let keys = schema.pointer(place).unwrap().as_object().unwrap().keys();
        // They hold the others, and the code over them.
        let keys = keys.map(String::as_str).filter(|key| !["sessions", "signature"].contains(key));
        let expected: BTreeMap<_, _> =
            keys.map(|key| (key, signed.concat().contains(&key))).collect();
        assert_eq!(table, expected);
    }
}
