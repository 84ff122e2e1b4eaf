//! What it costs that workers over an engine make the attempts.

use std::{
    env,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    compute::Compute,
    lists::Lists,
    table::{Bench, figure, median, millis, title},
};

/// How long an attempt computes, in microseconds; how many there are; and how much of the plain runner's speed is to be left.
const WORK: [(u64, u64, f64); 2] = [(50, 200_000, 0.85), (5000, 2_000, 0.98)];

/// Two workers of one job each, beside the plain runner with two jobs on the same cores.
pub(super) fn fleet(bench: &mut Bench) {
    let engine = Engine::start(&bench.lists);
    let workers = ["one", "two"].map(|name| engine.worker(&bench.lists, name));
    for (each, trials, least) in WORK {
        let trials = trials / bench.pick(1, 10);
        title(&format!(
            "{trials} trials of {each} µs, plain and over two workers"
        ));
        let compute = Compute::new(&bench.lists, each, trials);
        let (mut plain, mut spread) = (Vec::new(), Vec::new());
        // With the first one, workers fetch and compile.
        compute.time_with(&bench.lists, &engine.flags());
        for _ in 0..bench.pick(5, 3) {
            plain.push(millis(compute.time(&bench.lists, 2)));
            spread.push(millis(compute.time_with(&bench.lists, &engine.flags())));
        }
        let [plain, spread] = [plain, spread].map(|took| median(took.into_iter()));
        figure("plain", plain, "ms");
        figure("over two workers", spread, "ms");
        bench.ratio(
            &format!("plain speed over that of workers, {each} µs"),
            spread / plain,
            Some(1.0 / least),
        );
    }
    drop(workers);
}

/// A NATS server, which ends with this value.
struct Engine {
    _server: Killed,
    url: String,
}

/// A process that is killed with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it can be waited for");
    }
}

impl Engine {
    fn start(lists: &Lists) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = free.local_addr().expect("it has a port").port();
        drop(free);
        let program = env::var_os("NATS_SERVER").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/nats/nats-server"),
            PathBuf::from,
        );
        let server = Command::new(&program)
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .args(["--jetstream", "--store_dir"])
            .arg(lists.path("engine"))
            .stderr(Stdio::null())
            .spawn();
        let server = server.unwrap_or_else(|error| {
            panic!("`{}`: {error}; `.ci/run` installs it", program.display())
        });
        let engine = Self {
            _server: Killed(server),
            url: format!("nats://127.0.0.1:{port}"),
        };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        engine
    }

    fn flags(&self) -> [&str; 2] {
        ["--engine", &self.url]
    }

    fn worker(&self, lists: &Lists, name: &str) -> Killed {
        let mut command =
            lists.program(&["worker", "--jobs", "1", "--name", name, "--store", name]);
        let started = command
            .args(self.flags())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Killed(started.expect("it starts"))
    }
}
