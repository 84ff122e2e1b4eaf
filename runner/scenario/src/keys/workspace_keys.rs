//! The `workspace` of a provider or grader, and its contradictions to other keys.

use std::{collections::BTreeMap, path::Path};

use runner_model::workspace::{GradedAccess, KeptChanges, WORKSPACE, WORKSPACE_ROOTS, Workspace};
use serde_json::Value;

use super::grant_keys::{check_mount, granted_tools};
use crate::reading::{At, Named, Reader, Table, TableForm, Templated, Text, Word, size};

pub(super) const WORKSPACE_TABLE: TableForm<Workspace> =
    TableForm("`workspace` of a provider", workspace);
/// What a grader may do with the workspace of an attempt.
pub(super) const ACCESS: Word<GradedAccess> =
    Word(|| GradedAccess::ALL.iter().map(|access| access.as_str()).collect(), GradedAccess::parse);
/// Files of a grader that no provider sees, by their paths in the guest.
pub(super) const HIDDEN: Named<Templated> = Named {
    form: Templated(WORKSPACE_ROOTS),
    words: "a table such as { \"/work/tests\" = \"hidden\" }",
    refuse: |_| None,
    pattern: "^/.",
    count: (1, usize::MAX),
};
/// `limits.scratch` of a provider with a workspace, or of a grader that writes to one, that does not set it.
pub(super) const SCRATCH: u64 = 64 << 20;
const MOUNT: Text<String> = Text {
    words: "the absolute path of a free folder",
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
    if !provider.get("workspace").is_some_and(Value::is_object) {
        return;
    }
    if provider.get("reuse").is_some() {
        let message = "an instance that serves many tests cannot have a new workspace for each";
        let problem = reader.refuse_key(&at.key("reuse"), message, "remove it");
        problem.help = Some("or remove `workspace`".to_owned());
    }
    let message = "without `limits.scratch`, no attempt can have a workspace";
    check_scratch(provider, at, message, reader);
    if let Some(mount) = mount_of(provider) {
        check_overlaps(provider, at, mount, &at.key("workspace"), reader);
    }
}

/// Returns the path of a provider's workspace. `None` without one, or if the path is invalid.
fn mount_of(provider: &Value) -> Option<&str> {
    let workspace = provider.get("workspace")?.as_object()?;
    let mount = workspace.get("mount").map_or(Some(WORKSPACE), Value::as_str);
    mount.filter(|mount| check_place(mount).is_ok())
}

/// Reports a `limits.scratch` of 0.
fn check_scratch(provider: &Value, at: &At<'_>, message: &str, reader: &mut Reader<'_>) {
    if size(provider.pointer("/limits/scratch")) == Some(0) {
        let limits = at.key("limits");
        let problem = reader.refuse(&limits.key("scratch"), message, "too small");
        problem.help = Some("raise it, or remove it: the default is then 64 MiB".to_owned());
    }
}

/// Reports folders of grants that overlap the workspace at `mount`, which is stated at `workspace`.
fn check_overlaps(
    provider: &Value,
    at: &At<'_>,
    mount: &str,
    workspace: &At<'_>,
    reader: &mut Reader<'_>,
) {
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
            reader.add_place(workspace, "the workspace");
        }
    }
}

/// Reports folders of a tool that overlap the workspaces of its callers.
pub(super) fn check_tool_folders(
    name: &str,
    tool: &Value,
    at: &At<'_>,
    root: &Value,
    reader: &mut Reader<'_>,
) {
    let callers = |table| {
        let callers = root.get(table).and_then(Value::as_object).into_iter().flatten();
        callers.map(move |(caller, keys)| {
            (caller, keys, granted_tools(keys).any(|(_, tool)| tool == name))
        })
    };
    // A grader has the workspaces of all providers.
    let is_of_grader = callers("graders")
        .any(|(_, grader, may_call)| may_call && grader.get("workspace").is_some());
    let callers = callers("providers").filter(|(.., may_call)| *may_call || is_of_grader);
    let mounts: BTreeMap<_, _> =
        callers.filter_map(|(caller, keys, _)| Some((mount_of(keys)?, caller))).collect();
    let tables = At::ROOT.key("providers");
    for (mount, caller) in mounts {
        check_overlaps(tool, at, mount, &tables.key(caller).key("workspace"), reader);
    }
}

/// Reports contradictions between the workspace and the hidden files of a grader, its other keys, and the workspaces of providers.
pub(super) fn check_graded(grader: &Value, at: &At<'_>, root: &Value, reader: &mut Reader<'_>) {
    let hidden = grader.get("hidden").and_then(Value::as_object);
    let Some(access) = grader.get("workspace") else {
        if hidden.is_some() {
            let message = "`hidden` files are put into a workspace, which this grader does not get";
            let problem = reader.refuse_key(&at.key("hidden"), message, "has no effect");
            problem.help = Some("add `workspace = \"read\"` to the grader".to_owned());
        }
        return;
    };
    if grader.get("reuse").is_some() {
        let message = "an instance that judges many outputs cannot have a new workspace for each";
        let problem = reader.refuse_key(&at.key("reuse"), message, "remove it");
        problem.help = Some("or remove `workspace`".to_owned());
    }
    if access.as_str() == Some(GradedAccess::Write.as_str()) {
        let message = "without `limits.scratch`, the grader cannot write to a workspace";
        check_scratch(grader, at, message, reader);
    }
    let providers = root.get("providers").and_then(Value::as_object);
    if !providers.into_iter().flatten().any(|(_, provider)| provider.get("workspace").is_some()) {
        let message = "no provider has a workspace, so this grader has nothing to read";
        let problem = reader.refuse(&at.key("workspace"), message, "here");
        problem.help = Some("add `workspace = { from = \"FOLDER\" }` to a provider".to_owned());
        return;
    }
    let tables = At::ROOT.key("providers");
    let mounts: BTreeMap<_, _> = (providers.into_iter().flatten())
        .filter_map(|(name, provider)| Some((mount_of(provider)?, name)))
        .collect();
    for (mount, name) in &mounts {
        check_overlaps(grader, at, mount, &tables.key(name).key("workspace"), reader);
    }
    let at = at.key("hidden");
    let paths = hidden.into_iter().flatten().map(|(path, _)| path);
    if paths.clone().count() > 0 && mounts.len() > 1 {
        let message =
            "`hidden` files need one path for all workspaces, and these differ in `mount`";
        let problem = reader.refuse_key(&at, message, "these files");
        problem.help = Some("give all providers with a workspace the same `mount`".to_owned());
        for (mount, name) in mounts {
            let provider = tables.key(name);
            reader.add_place(&provider.key("workspace"), &format!("at `{mount}`"));
        }
        return;
    }
    for path in paths.clone() {
        if let Err(reason) = check_place(path) {
            reader.refuse_key(&at.key(path), format!("`{path}` {reason}"), "this path");
            continue;
        }
        let is_in = |folder: &str| path != folder && Path::new(path).starts_with(folder);
        if let Some((mount, _)) = mounts.first_key_value().filter(|(mount, _)| !is_in(mount)) {
            let message = format!("`{path}` is not in the workspace, which is at `{mount}`");
            let problem = reader.refuse_key(&at.key(path), message, "this path");
            problem.help = Some(format!("choose a path such as `{mount}/tests`"));
        }
        if let Some(other) = paths.clone().find(|other| is_in(other)) {
            let message =
                format!("`{path}` is in `{other}`, which is another one of the `hidden` files");
            reader.refuse_key(&at.key(path), message, "this path").help =
                Some("put both into one folder of the project".to_owned());
            reader.add_place(&at.key(other), "the other one");
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
