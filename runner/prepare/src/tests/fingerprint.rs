use runner_model::provider::{
    Arguments, FolderContent, Grading, MountedFolder, OutputForm, PluginKind, PreparedProvider,
    Protocol, Provider, Stdin, Tool,
};
use runner_model::{Limits, Micros, ProviderName, digest, grants::FsMode, template::Template};
use serde_json::{Value, json};

use super::{Fingerprints, TestParts, recipe};

fn provider() -> PreparedProvider {
    PreparedProvider {
        provider: Provider {
            grading: None,
            tool: None,
            name: ProviderName::parse("p").unwrap(),
            plugin: "p.wasm".into(),
            config: json!({"b": 1.0, "a": [null]}),
            args: Arguments::Each(vec![Template::parse("-x{{input.y}}").unwrap()]),
            stdin: None,
            output: OutputForm::Text,
            protocol: Protocol::Plain,
            sha256: None,
            reuse: None,
            grants: Default::default(),
            limits: Limits::default(),
            concurrency: None,
            rate: None,
            budget: Default::default(),
            prices: Default::default(),
            records: None,
            deterministic: None,
            workspace: None,
            files: Vec::new(),
        },
        digest: digest(b"plugin"),
        kind: PluginKind::Command,
        mounts: Vec::new(),
    }
}

const TEST: TestParts<'_> = TestParts {
    id: "a",
    input: "{\"x\":1}",
    tags: "",
    files: "",
    base: None,
    timeouts: [Some(Micros(60_000_000)), None],
};

/// Later versions compare their fingerprints with those of runs on disk, so these bytes never change without another
/// number in the prefix.
#[test]
fn recipes_have_the_bytes_that_runs_were_stored_with() {
    let provider = provider();
    assert_eq!(
        recipe(&provider, 7).to_string(),
        format!(
            r#"{{"call":{{"args":["-x{{{{input.y}}}}"],"output":"text","protocol":"plain","stdin":null}},"config":{{"a":[null],"b":1.0}},"limits":{{"artifact_files":100,"artifacts":67108864,"http_requests":100,"http_response":10485760,"input":4194304,"log":1048576,"log_records":10000,"memory":268435456,"reply":4194304,"scratch":0,"stdio":65536,"table_elements":1000000}},"plugin":"{}","seed":7}}"#,
            provider.digest
        )
    );
    let prints = Fingerprints::new(&[provider], 7);
    let print = prints.execution(0, &TEST);
    assert_eq!(print.to_string(), "da3bd5c92bd2548b13fbe1cd22896ff3");
    assert_eq!(
        Fingerprints::without_provider().judgement("{\"equals\":1}", &[], "", "").to_string(),
        "9669223e4dd77f5f2530e62033cb65e6"
    );
}

fn folder(mode: FsMode, content: &[u8]) -> MountedFolder {
    let content = (mode == FsMode::ReadOnly)
        .then(|| FolderContent { sha256: digest(content), without: None });
    MountedFolder { host: "/h".into(), guest: "/data".into(), mode, device: 1, inode: 2, content }
}

#[test]
fn read_only_folders_decide_results() {
    let print = |mounts: Vec<MountedFolder>| {
        let grading = Some(Box::new(Grading {
            input: None,
            min_score: None,
            max_score: None,
            weight: 1.0,
            retries: None,
            timeout: Micros(1),
            workspace: None,
            fingerprint: None,
        }));
        let provider = Provider { grading, ..provider().provider };
        let prints =
            Fingerprints::new(&[PreparedProvider { provider, mounts, ..self::provider() }], 7);
        (prints.execution(0, &TEST), prints.judgement("", &["p".to_owned()], "", ""))
    };
    let (ro, rw) = (|text| folder(FsMode::ReadOnly, text), folder(FsMode::ReadWrite, b""));
    let all = [
        print(Vec::new()),
        print(vec![ro(b"1")]),
        print(vec![ro(b"2")]),
        print(vec![ro(b"1"), ro(b"2")]),
        print(vec![rw.clone(), ro(b"1")]),
        print(vec![ro(b"1"), rw.clone()]),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other.0 != one.0 && other.1 != one.1), "{index}");
    }
    // Without a read-only folder, the bytes are those of runs on disk.
    assert_eq!(print(vec![rw]), all[0]);
}

#[test]
fn tools_decide_results_of_their_callers() {
    let provider = |name: &str, tools: &[&str]| {
        let mut prepared = provider();
        prepared.provider.name = ProviderName::parse(name).unwrap();
        prepared.provider.grants.tools = tools.iter().map(|name| (*name).to_owned()).collect();
        prepared
    };
    let tool = |name: &str, description: &str| {
        let mut prepared = provider(name, &[]);
        let description = Some(description.to_owned());
        prepared.provider.tool = Some(Box::new(Tool { description, input_schema: None }));
        prepared
    };
    let print = |description: &str, of_graders: &str| {
        let mut grader = provider("g", &["t"]);
        let grading = json!({"timeout": 1});
        grader.provider.grading = serde_json::from_value(grading).unwrap();
        let all = [
            provider("p", &["t"]),
            provider("q", &["other"]),
            tool("t", description),
            tool("other", "x"),
            grader,
            // In a session of `rescore`.
            tool("t", of_graders),
        ];
        let prints = Fingerprints::new(&all, 7);
        let of_grader = prints.judgement("", &["g".to_owned()], "", "");
        (prints.execution(0, &TEST), prints.execution(1, &TEST), of_grader)
    };
    let before = print("a", "a");
    let of_provider = print("b", "a");
    assert!(of_provider.0 != before.0 && (of_provider.1, of_provider.2) == (before.1, before.2));
    let of_grader = print("a", "b");
    assert!((of_grader.0, of_grader.1) == (before.0, before.1) && of_grader.2 != before.2);
}

/// Changes a provider.
type Change = fn(&mut PreparedProvider);

#[test]
fn fingerprints_change_with_what_decides_results() {
    let print = |change: Change, seed, test: &TestParts<'_>| {
        let mut provider = provider();
        change(&mut provider);
        Fingerprints::new(&[provider], seed).execution(0, test)
    };
    let first = print(|_| {}, 7, &TEST);
    let undeciding: [Change; 3] = [
        |provider| provider.provider.name = ProviderName::parse("q").unwrap(),
        |provider| provider.provider.plugin = "q.wasm".into(),
        |provider| {
            provider.provider.concurrency = Some(1);
            provider.provider.limits.file += 1;
        },
    ];
    for change in undeciding {
        assert_eq!(print(change, 7, &TEST), first);
    }
    let deciding: [Change; 8] = [
        |provider| provider.digest = digest(b"other"),
        |provider| provider.provider.config = Value::Null,
        |provider| provider.provider.args = Arguments::default(),
        |provider| provider.provider.stdin = Template::parse("").ok().map(Stdin::Text),
        |provider| provider.provider.output = OutputForm::Json,
        |provider| provider.provider.protocol = Protocol::Json,
        |provider| provider.provider.limits.memory += 1,
        |provider| provider.provider.limits.time = Some(Micros(1)),
    ];
    for change in deciding {
        assert_ne!(print(change, 7, &TEST), first);
    }
    assert_ne!(print(|_| {}, 8, &TEST), first);
    let tests = [
        TestParts { id: "b", ..TEST },
        TestParts { input: "1", ..TEST },
        TestParts { tags: "[\"t\"]", files: "", ..TEST },
        TestParts { base: Some(digest(b"base")), ..TEST },
        TestParts { timeouts: [Some(Micros(1)), None], ..TEST },
        TestParts { timeouts: [Some(Micros(60_000_000)); 2], ..TEST },
        TestParts { id: "a{\"x\":1}", input: "", ..TEST },
    ];
    for test in tests {
        assert_ne!(print(|_| {}, 7, &test), first);
    }
}
