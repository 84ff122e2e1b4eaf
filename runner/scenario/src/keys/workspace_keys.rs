//! The `workspace` of a provider, and its contradictions to other keys.

use std::path::Path;

use runner_model::workspace::{KeptChanges, WORKSPACE, WORKSPACE_ROOTS, Workspace};
use serde_json::Value;

use super::grant_keys::check_mount;
use crate::reading::{At, Reader, Table, TableForm, Templated, Text, Word, size};

pub(super) const WORKSPACE_TABLE: TableForm<Workspace> =
    TableForm("`workspace` of a provider", workspace);
/// `limits.scratch` of a provider with a workspace that does not set it.
pub(super) const SCRATCH: u64 = 64 << 20;
const MOUNT: Text<String> = Text {
    words: "an absolute path",
    example: " such as \"/work\"",
    schema: r#"{"title": "such as `\"/work\"`", "type": "string", "pattern": "^/.", "examples": ["/work"]}"#,
    parse: |text| {
        check_place(text).map(|()| text.to_owned()).map_err(|reason| format!("`{text}` {reason}"))
    },
};
const KEEP: Word<KeptChanges> =
    Word(|| KeptChanges::ALL.iter().map(|keep| keep.as_str()).collect(), KeptChanges::parse);

fn workspace(table: &mut Table<'_, '_>) -> Option<Workspace> {
    Some(Workspace {
        from: table.optional("from", &Templated(WORKSPACE_ROOTS)),
        mount: table.or("mount", &MOUNT, r#""/work""#),
        keep: table.or("keep", &KEEP, r#""changes""#),
    })
}

/// Checks the path of a workspace in a guest. An error continues a sentence about it.
fn check_place(text: &str) -> Result<(), String> {
    match text {
        "/" => Err("is the root: name a folder in it".to_owned()),
        "/tmp" => Err("is the attempt's own".to_owned()),
        _ if text.starts_with("/tmp/") => {
            Err("is inside `/tmp`, which is the attempt's own".to_owned())
        }
        _ => check_mount(text),
    }
}

/// Reports contradictions between a provider's workspace and its other keys.
pub(super) fn check_workspace(provider: &Value, at: &At<'_>, reader: &mut Reader<'_>) {
    let Some(workspace) = provider.get("workspace").and_then(Value::as_object) else { return };
    if provider.get("reuse").is_some() {
        let message = "an instance that serves many tests cannot have a new workspace for each";
        let problem = reader.refuse_key(&at.key("reuse"), message, "remove it");
        problem.help = Some("or remove `workspace`".to_owned());
    }
    if size(provider.pointer("/limits/scratch")) == Some(0) {
        let message = "without `limits.scratch`, no attempt can have a workspace";
        let limits = at.key("limits");
        let problem = reader.refuse(&limits.key("scratch"), message, "too small");
        problem.help = Some("raise it, or remove it: the default is then 64 MiB".to_owned());
    }
    let mount = workspace.get("mount").map_or(Some(WORKSPACE), Value::as_str);
    let Some(mount) = mount.filter(|mount| check_place(mount).is_ok()) else { return };
    let folders = provider.pointer("/grants/fs").and_then(Value::as_array).into_iter().flatten();
    let grants = at.key("grants");
    let fs = grants.key("fs");
    for (index, folder) in folders.enumerate() {
        let Some(other) = folder.get("mount").and_then(Value::as_str) else { continue };
        let [one, two] = [mount, other].map(Path::new);
        if check_mount(other).is_ok() && (one.starts_with(two) || two.starts_with(one)) {
            let message = format!("the folder at `{other}` and the workspace at `{mount}` overlap");
            let problem = reader.refuse(&fs.index(index).key("mount"), message, "this folder");
            problem.help = Some("choose another `mount` for one of them".to_owned());
            reader.add_place(&at.key("workspace"), "the workspace");
        }
    }
}

#[cfg(test)]
mod tests {
    use runner_model::workspace::WORKSPACE;

    use super::check_place;

    #[test]
    fn workspace_has_a_folder_of_its_own() {
        for good in [WORKSPACE, "/a/b.c", "/scratchpad", "/tmpx", "/..a"] {
            assert_eq!(check_place(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "work",
            "./work",
            "/",
            "//",
            "/a/",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a\0",
            "/tmp",
            "/tmp/a",
            "/scratch",
            "/scratch/a",
            "/files",
            "/artifacts/a",
        ] {
            assert!(check_place(bad).is_err(), "{bad:?}");
        }
    }
}
