//! Attachments of commands, and artifacts in `/artifacts`.

use std::{fs, io::Read as _, time::Duration};

use runner_model::{ErrorClass, grants::FsMode};
use serde_json::json;

use super::{ENTRY, MIB, World, error, output, warnings};
use crate::{Ending, LeftContent, LeftFile};

fn content(file: &LeftFile) -> Vec<u8> {
    match &file.content {
        LeftContent::Memory(content) => content.clone(),
        LeftContent::File(file) => {
            let mut content = Vec::new();
            let mut file = file;
            file.read_to_end(&mut content).unwrap();
            content
        }
    }
}

#[test]
fn commands_read_but_never_change_attachments() {
    let world = World::new().scratch(MIB).attach("a.txt", "attached").attach("b c.bin", "");
    for (kind, plugin) in world.commands() {
        let acts = json!([
            ["list", "/files"],
            ["read", "/files/a.txt"],
            ["read", "/files/b c.bin"],
            ["write", "/files/a.txt", "changed"],
            ["append", "/files/a.txt", "changed"],
            ["set-size", "/files/a.txt", 0],
            ["truncate-read", "/files/a.txt"],
            ["write-to-read", "/files/a.txt"],
            ["remove", "/files/a.txt"],
            ["rename", "/files/a.txt", "/scratch/a"],
            ["link", "/files/a.txt", "/scratch/a"],
            ["touch", "/files/a.txt"],
            ["write", "/files/new", ""],
            ["symlink", "/files/a.txt", "/scratch/absolute"],
            ["symlink", "../files/a.txt", "/scratch/relative"],
            ["append", "/scratch/relative", "changed"],
        ]);
        let results = output(world.run(plugin, &acts));
        assert_eq!(results[0], json!({"ok": ["a.txt", "b c.bin"]}), "{kind}");
        assert_eq!(results[1], json!({"ok": "attached"}), "{kind}");
        assert_eq!(results[2], json!({"ok": ""}), "{kind}");
        for index in (3..14).chain([15]) {
            let (act, result) = (&acts[index], &results[index]);
            assert!(result["err"].is_string(), "{kind}: {act} gave {result}");
        }
        assert_eq!(world.read("blob-a.txt"), "attached");
    }
    // Components have an import for them.
    let ended = world.run(world.component(), &json!([["list", "/files"]]));
    assert!(output(ended)[0]["err"].is_string());
}

#[test]
fn missing_attachment_is_named() {
    let world = World::new().attach("a.txt", "attached");
    fs::remove_file(world.path("blob-a.txt")).unwrap();
    for (kind, plugin) in world.commands() {
        let error = error(world.run(plugin, &json!([])));
        assert_eq!(error.class, Some(ErrorClass::Internal), "{kind}");
        let expected = "cannot provide the attachment `a.txt`: ";
        assert!(error.message.starts_with(expected), "{kind}: {}", error.message);
    }
}

#[test]
fn files_of_a_command_become_artifacts() {
    let mut world = World::new().scratch(MIB).mount("open", "/data", FsMode::ReadWrite);
    world.bench.limits.artifacts = 20;
    let mut interrupted = World::new().scratch(MIB);
    interrupted.bench.timeout = Duration::from_millis(100);
    let acts = json!([
        ["list", "/artifacts"],
        ["write", "/artifacts/report.html", "<p>"],
        ["write", "/artifacts/no-ending", ""],
        ["write", "/artifacts/b.json", "{}"],
        ["write", "/artifacts/too-large", "123456789012345678901"],
        ["write", "/artifacts/a bad name", ""],
        ["mkdir", "/artifacts/folder"],
        ["write", "/artifacts/folder/inside", ""],
        ["symlink", "/etc/passwd", "/artifacts/absolute"],
        ["symlink", "../../secret/file", "/artifacts/soft"],
        ["symlink", "report.html", "/artifacts/inner"],
        ["write", "/artifacts/Transcript.json", "x"],
        ["link", "/data/file", "/artifacts/hard"],
    ]);
    for (kind, plugin) in world.commands() {
        for last in [json!(["exit", 0]), json!(["exit", 7]), json!(["panic"])] {
            let mut acts = acts.as_array().unwrap().clone();
            acts.push(last.clone());
            let ended = world.run(plugin, &acts.into());
            let kept: Vec<_> = ended
                .artifacts
                .iter()
                .map(|file| (file.name.as_str(), file.media_type.as_str(), content(file)))
                .collect();
            assert_eq!(
                kept,
                [
                    ("b.json", "application/json", b"{}".to_vec()),
                    ("no-ending", "application/octet-stream", b"".to_vec()),
                    ("report.html", "text/html", b"<p>".to_vec()),
                ],
                "{kind} {last}: {ended:?}"
            );
            assert_eq!(
                warnings(&ended),
                [
                    "not kept from `/artifacts`: `Transcript.json` (the runner's own artifact has this name), `a bad name` (its name is not 1 to 128 of `A-Z a-z 0-9 . _ -`), \
                  `folder` (not a file), `hard` (a hard link), `inner` (a symbolic link), \
                  `soft` (a symbolic link), `too-large` (over `limits.artifacts`, 20 B)"
                ],
                "{kind} {last}"
            );
        }
        // After an interrupt, files are half written.
        let ended = interrupted.run(plugin, &json!([["write", "/artifacts/a", "x"], ["sleep"]]));
        assert!(matches!(ended.ending, Ending::Timeout), "{kind}: {ended:?}");
        assert!(ended.artifacts.is_empty(), "{kind}");
    }
    // Components have an import for them.
    let ended = world.run(world.component(), &json!([["list", "/artifacts"]]));
    assert!(output(ended)[0]["err"].is_string());
}

#[test]
fn number_of_kept_artifacts_is_bounded() {
    let mut world = World::new().scratch(MIB);
    world.bench.limits.artifact_files = 2;
    let writes = (10..25).map(|number| json!(["write", format!("/artifacts/{number}"), "x"]));
    let ended = world.run(world.commands()[1].1, &writes.collect());
    assert_eq!(ended.artifacts.len(), 2);
    let message = warnings(&ended)[0];
    assert!(
        message.starts_with(
            "not kept from `/artifacts`: `12` (over `limits.artifact_files`, 2), `13`"
        )
    );
    assert!(message.ends_with("`21` (over `limits.artifact_files`, 2) and 3 more"), "{message}");
}

#[test]
fn flood_of_artifacts_is_read_in_part() {
    // Room for more empty files than are read.
    let world = World::new().scratch(11_000 * ENTRY);
    let ended = world.run(world.commands()[1].1, &json!([["flood", "/artifacts"]]));
    assert_eq!(ended.artifacts.len(), 100);
    let message = warnings(&ended)[0];
    let end = " and 9890 more; only the first 10000 files were read";
    assert!(message.ends_with(end), "{message}");
}
