//! The scripts of the dashboard, as TypeScript's compiler reads them: what they say of types in their comments holds, and
//! what they read from the API's documents is there.

use std::env;

use crate::node_with;

#[test]
fn the_types_of_the_dashboards_scripts_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let update = env::var_os("UPDATE").map(Into::into);
    let variables: Vec<_> = update.into_iter().map(|value| ("UPDATE", value)).collect();
    node_with("types.mjs", folder.path(), &[], &variables);
}
