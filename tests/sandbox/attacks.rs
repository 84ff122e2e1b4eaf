//! Native code in a worker: the position of a guest that has escaped its sandbox. Release builds have no such worker.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
};

use serde_json::{Value, json};

use crate::support::{runner::Runner, running::Running};

/// Result of each attack: null if it succeeded, else the error number.
type Results = BTreeMap<String, Value>;

/// Lets a worker attack its surroundings, before and after it enters the sandbox of workers.
fn attacked() -> [Results; 2] {
    let runner = Runner::new(&[]);
    for (folder, file) in
        [("home", "secret"), ("victim", "rows"), ("closed", "entry"), ("old/worker-1/base", "0")]
    {
        fs::create_dir_all(runner.path(folder)).unwrap();
        runner.write(&format!("{folder}/{file}"), "content");
    }
    let secret = runner.path("home/secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = format!("runner-attacks-{}-{port}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _sockets = [
        UnixListener::bind(runner.path("socket")).unwrap(),
        UnixListener::bind_addr(&address).unwrap(),
    ];
    let _datagrams = UnixDatagram::bind(runner.path("datagrams")).unwrap();
    let targets = json!({
        "home": runner.path("home"),
        "run": runner.path("victim"),
        "old_base": runner.path("old/worker-1/base/0"),
        "cache": runner.path("closed"),
        "port": port,
        "socket": runner.path("socket"),
        "datagrams": runner.path("datagrams"),
        "abstract_socket": name,
    });
    let targets = targets.as_object().unwrap().iter();
    let targets: Vec<_> = targets.map(|(key, value)| format!("{key} = {value}")).collect();
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "bundled:echo"
        config = {{ lie = "attacks", targets = {{ {} }} }}
        [[tests]]
        id = "a"
        input = 1
        "#,
        targets.join(", ")
    ));
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("RUNNER_TEST_WORKER", "__lie");
    Running::start(&mut command).finish().expect(0);
    let row = runner.only_run().row("a");
    [0, 1].map(|phase| {
        let results = row["output"][phase].as_array().unwrap().iter();
        let results = results.map(|result| {
            let name = result[0].as_str().unwrap().to_owned();
            (name, result[1]["Failed"].clone())
        });
        results.collect()
    })
}

fn done(results: &Results) -> Vec<&str> {
    let done = results.iter().filter(|(_, error)| error.is_null());
    done.map(|(name, _)| &**name).collect()
}

#[test]
fn escaped_guests_find_nothing_open() {
    let [before, after] = attacked();
    // Outside of the sandbox all attacks succeed, except some on a process that has capabilities. Not every kernel has MPTCP.
    let needs = ["connect by MPTCP", "slow a process", "bind a process to processors"];
    let failed = before.iter().filter(|(_, error)| !error.is_null());
    let failed: Vec<_> = failed.map(|(name, _)| &**name).collect();
    assert!(failed.iter().all(|name| needs.contains(name)), "{before:?}");
    assert_eq!(before.len(), after.len());
    assert_eq!(done(&after), ["see how large a file of the home is"]);
    let refusals = [json!(1), json!(13), json!(18)];
    for (name, error) in &after {
        assert!(error.is_null() || refusals.contains(error), "{name}: {error}");
    }
}
