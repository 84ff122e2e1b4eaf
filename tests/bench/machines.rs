//! Two workers, connected by a NATS server on the same machine, against the program without workers.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Done, RUNNER};

/// Steps of a guest's loop in a microsecond, about.
const STEPS: u64 = 1_800;

/// A process that is killed on drop.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints the trials per second of two workers with one slot each, relative to `--jobs 2` on one machine.
pub(super) fn machines(rounds: u64) -> Done {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/nats/bin/nats-server");
    let server = env::var("NATS_SERVER").unwrap_or_else(|_| installed.to_owned());
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = quiet(Command::new(server));
    server.args(["-a", "127.0.0.1", "-p", &port.to_string(), "--jetstream", "--store_dir"]);
    let _server = Killed(server.arg(folder.join("store")).spawn()?);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let address = format!("nats://127.0.0.1:{port}");
    let worker = |name| -> Done<Killed> {
        let words = ["worker", "--broker", &address, "--jobs", "1", "--name", name];
        Ok(Killed(quiet(Command::new(RUNNER)).args(words).spawn()?))
    };
    let _workers = [worker("one")?, worker("two")?];
    for (title, micros, repeat) in [("50 µs", 50, 150_000), ("5 ms", 5_000, 2_500)] {
        let guest = format!(
            r#"(module (memory (export "memory") 1) (func (export "_start") (local $i i64)
                (loop $again
                    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get $i)))
                    (local.set $i (i64.add (local.get $i) (i64.const 1)))
                    (br_if $again (i64.lt_u (local.get $i) (i64.const {}))))))"#,
            micros * STEPS
        );
        fs::write(folder.join("busy.wasm"), wat::parse_str(guest)?)?;
        let scenario = format!(
            "[defaults]\nrepeat = {repeat}\n[providers.busy]\nplugin = \"busy.wasm\"\n[[tests]]\nid = \"busy\"\n"
        );
        fs::write(folder.join("scenario.toml"), scenario)?;
        // The first run compiles the guest.
        exec(folder, &["--jobs", "2"])?;
        let (mut alone, mut remote) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alone.push(exec(folder, &["--jobs", "2"])?);
            remote.push(exec(folder, &["--broker", &address])?);
        }
        let [alone, remote] = [alone, remote].map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        println!(
            "{repeat} trials of about {title}: {alone:.2?} alone, {remote:.2?} on two workers; {:.2} of the speed",
            alone.as_secs_f64() / remote.as_secs_f64()
        );
    }
    Ok(())
}

fn exec(folder: &Path, words: &[&str]) -> Done<Duration> {
    let mut command = quiet(Command::new(RUNNER));
    command.args(["exec", "-q", "scenario.toml"]).args(words).current_dir(folder);
    let began = Instant::now();
    let status = command.status()?;
    if status.success() { Ok(began.elapsed()) } else { Err(format!("{words:?}: {status}").into()) }
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_remove("RUNNER_BROKER");
    command
}
