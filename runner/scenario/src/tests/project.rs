//! Files that a scenario reads: in its project, outside of it, and allowed by `reads`.

use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use crate::{Selection, load, resolve};

/// The files of a folder that scenarios name.
const FILES: [(&str, &str); 4] =
    [("a.txt", "text"), ("a.json", "{}"), ("a.csv", "id\nx\n"), ("sub/a.csv", "id\ny\n")];
/// Kinds of files, and tests that read one of each from `FOLDER`. The first names attachments relative to its list, `lists/l.toml`.
const KINDS: [(&str, &str); 8] = [
    ("attachment", "tests = [{ id = 'a', files = { f = 'FOLDER/a.txt' } }]"),
    (
        "attachment",
        "providers.q = { plugin = 'x.wasm', files = { f = 'FOLDER/a.txt' } }\ntests = [{ id = 'a' }]",
    ),
    (
        "file",
        "providers.q = { plugin = 'x.wasm', matrix = { m = { files = 'FOLDER/*.txt' } } }\ntests = [{ id = 'a' }]",
    ),
    ("schema", "tests = [{ id = 'a', expect.schema = 'FOLDER/a.json' }]"),
    ("schema", "test_lists = [{ files = ['lists/l.csv'], expect = { schema = 'FOLDER/a.json' } }]"),
    ("test list", "test_lists = [{ files = ['FOLDER/a.csv'] }]"),
    ("test list", "test_lists = [{ files = ['FOLDER/**/*.csv'], optional = true }]"),
    (
        "test list",
        "tests = [{ id = 'a' }]\ntest_lists = [{ files = ['FOLDER/none.csv', 'lists/l.csv'], optional = true }]",
    ),
];

/// Creates a repository `repo` with the scenario's folder `repo/tests`, next to the folders `outside` and `corpora`.
fn folders() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for place in ["repo/tests/inside", "repo/shared", "outside", "corpora"] {
        fs::create_dir_all(at(place).join("sub")).unwrap();
        FILES.iter().for_each(|(name, text)| fs::write(at(place).join(name), text).unwrap());
    }
    fs::create_dir_all(at("repo/.git")).unwrap();
    fs::create_dir(at("repo/tests/lists")).unwrap();
    fs::write(at("repo/tests/lists/l.csv"), "id\nx\n").unwrap();
    fs::write(at("repo/tests/x.wasm"), "").unwrap();
    symlink("../../outside", at("repo/tests/link")).unwrap();
    symlink("../shared", at("repo/tests/near")).unwrap();
    symlink("../outside", at("corpora/.link")).unwrap();
    fs::create_dir(at("repo/tests/links")).unwrap();
    for (name, _) in FILES {
        let link = at("repo/tests/links").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(at("outside").join(name), link).unwrap();
    }
    folder
}

/// Reads the scenario of `folder`. Returns the problems.
fn problems(folder: &Path, run: &str, text: &str) -> Option<String> {
    let path = folder.join("repo/tests/s.toml");
    fs::write(&path, format!("run = {{ {run} }}\nproviders.p = {{ plugin = 'x.wasm' }}\n{text}\n"))
        .unwrap();
    let scenario = load(&path, &Default::default());
    let suite = scenario.and_then(|scenario| {
        resolve(&scenario, &Selection::default(), &mut tempfile::tempfile().unwrap())
    });
    suite.err().map(|problems| problems.render(false, 1000))
}

/// The real place of a folder that a scenario names.
fn real(folder: &TempDir, path: &str) -> String {
    folder.path().canonicalize().unwrap().join(path).to_str().unwrap().to_owned()
}

#[test]
fn each_kind_of_file_is_read_in_its_project_only() {
    let folder = folders();
    let [outside, corpora] = ["outside", "corpora"].map(|name| real(&folder, name));
    let allow = "reads = ['../../corpora']";
    for (place, run, refused) in [
        ("inside", "", None),
        ("../shared", "", None),
        ("near", "", None),
        ("../../repo/shared", "", None),
        ("../../corpora", allow, None),
        (&*corpora, allow, None),
        ("../../corpora/sub/..", allow, None),
        ("link", "", Some("outside")),
        ("links", "", Some("outside")),
        ("inside/../link", "", Some("outside")),
        ("../../outside", "", Some("outside")),
        ("../../outside", allow, Some("outside")),
        (&*outside, "", Some("outside")),
        ("../../corpora", "", Some("corpora")),
        // A link in an allowed folder does not allow its target.
        ("../../corpora/.link", allow, Some("outside")),
        ("link", "reads = ['../../outside']", None),
    ] {
        let mut kinds = KINDS.map(|(kind, text)| (kind, text.replace("FOLDER", place))).to_vec();
        let from_list =
            if place.starts_with('/') { place.to_owned() } else { format!("../{place}") };
        fs::write(
            folder.path().join("repo/tests/lists/l.toml"),
            format!("[[tests]]\nid = 'a'\nfiles = {{ f = '{from_list}/a.txt' }}\n"),
        )
        .unwrap();
        kinds.push(("attachment", "test_lists = [{ files = ['lists/l.toml'] }]".to_owned()));
        for (kind, text) in kinds {
            // The links of `links` are files, and no link is missing.
            let is_missing = text.contains("none.csv") && place == "links";
            let found = problems(folder.path(), run, &text);
            match refused.filter(|_| !is_missing) {
                None => assert_eq!(found, None, "{text}"),
                Some(refused) => {
                    let found = found.unwrap_or_else(|| panic!("{run}\n{text} is read"));
                    let (real, repo) = (real(&folder, refused), real(&folder, "repo"));
                    for part in [
                        &format!("error: {kind} `"),
                        &format!("leads out of the project, to `{real}"),
                        &format!("the project is `{repo}`; "),
                        &format!("to `[run]`: reads = [\"../../{refused}"),
                        "repo/tests/",
                    ] {
                        assert!(found.contains(part), "{part}:\n{found}");
                    }
                    // Neither names nor contents of files there are shown.
                    assert!(!found.contains("known here") && !found.contains("did you mean"));
                }
            }
        }
    }
}

#[test]
fn one_allowed_file_allows_no_other() {
    let folder = folders();
    let test = |name| format!("tests = [{{ id = 'a', files = {{ f = '../../corpora/{name}' }} }}]");
    let run = "reads = ['../../corpora/a.txt']";
    assert_eq!(problems(folder.path(), run, &test("a.txt")), None);
    assert!(problems(folder.path(), run, &test("a.csv")).unwrap().contains("leads out"));
}

#[test]
fn reads_and_grants_state_where_they_lead() {
    let folder = folders();
    let outside = real(&folder, "outside");
    for (path, is_refused) in [
        ("inside", false),
        ("near", false),
        ("../../outside", false),
        (&*outside, false),
        ("../../corpora/.link", false),
        ("link", true),
        ("link/sub", true),
        ("./inside/../link", true),
        ("../tests/link", true),
        (&real(&folder, "repo/tests/link"), true),
        // The text of a placeholder may be a name, too.
        ("{{{{x", true),
        ("bundled:x", true),
    ] {
        for name in ["{{x", "bundled:x"] {
            let _ = symlink("../../outside", folder.path().join("repo/tests").join(name));
        }
        let grant = format!(
            "providers.q = {{ plugin = 'x.wasm', grants.fs = [{{ path = '{path}', mount = '/m' }}] }}\n"
        );
        let test = "tests = [{ id = 'a' }]";
        for (what, run, text) in [
            ("folder", String::new(), format!("{grant}{test}")),
            ("path", format!("reads = ['{path}']"), test.to_owned()),
        ] {
            let found = problems(folder.path(), &run, &text);
            if !is_refused {
                assert_eq!(found, None, "{what} {path}");
                continue;
            }
            let found = found.unwrap_or_else(|| panic!("{what} {path} is accepted"));
            let written = if path.ends_with("sub") { "../../outside/sub" } else { "../../outside" };
            for part in [
                &format!("error: {what} `"),
                &format!("` is a link out of the project, to `{outside}"),
                &format!("write the real path: \"{written}\""),
            ] {
                assert!(found.contains(part), "{part}:\n{found}");
            }
        }
    }
    let missing = problems(folder.path(), "reads = ['../../corpra']", "tests = [{ id = 'a' }]");
    assert!(missing.unwrap().contains("path `../../corpra` does not exist"));
}

#[test]
fn access_has_real_folders_reads_and_signatures() {
    use runner_model::{grants::FsMode, provider::MountedFolder};

    let folder = folders();
    let text = "tests = [{ id = 'a' }]
        notify.webhooks = [{ url = 'https://example.com', secret = { env = 'HOOK' } }]
        providers.q = { plugin = 'x.wasm', grants.secrets = [{ name = 'HOOK', host = 'example.com', header = 'x-key' }] }";
    assert_eq!(problems(folder.path(), "reads = ['../../corpora/.link']", text), None);
    let path = folder.path().join("repo/tests/s.toml");
    let scenario = load(&path, &Default::default()).unwrap_or_else(|_| panic!());
    let mount = MountedFolder {
        host: "/home/me".to_owned(),
        guest: "/m".to_owned(),
        mode: FsMode::ReadWrite,
        device: 0,
        inode: 0,
        content: None,
    };
    let lines = scenario.access(path.parent().unwrap(), [("grader", "g", &[mount][..])]);
    let expected = [
        "grader `g` reads and writes the folder `/home/me` as `/m`",
        &format!("the scenario reads `{}`", real(&folder, "outside")),
        "a webhook posts to `https://example.com`, signed with the secret `HOOK`",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn file_names_are_names_of_scenarios() {
    let folder = folders();
    for (file, name, is_valid) in [
        ("s.toml", "", true),
        ("über 1.toml", "", true),
        ("-x.toml", "", false),
        ("a\nb.toml", "", false),
        ("-x.toml", "name = 'x'\n", true),
    ] {
        let path = folder.path().join("repo/tests").join(file);
        let text = "providers.p.plugin = 'x.wasm'\ntests = [{ id = 'a' }]\n";
        fs::write(&path, format!("{name}{text}")).unwrap();
        match load(&path, &Default::default()) {
            Ok(_) => assert!(is_valid, "{file}"),
            Err(problems) => {
                let shown = problems.render(false, 100);
                assert!(!is_valid && shown.contains("rename the file, or add a `name`"), "{shown}");
            }
        }
    }
}
