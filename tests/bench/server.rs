//! `runner serve`: answers about a large run, its memory, and a stop over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::time::{Duration, Instant};
use std::{fs, fs::File, net::TcpStream, path::Path, process::Child, process::Stdio, thread};

use serde_json::Value;

use crate::{Bench, Done, median, newest, plain_read};

/// Browsers that follow a run.
const BROWSERS: usize = 20;
/// Stops of each kind.
const STOPS: usize = 5;

/// A running server.
struct Server {
    child: Child,
    port: u16,
    token: String,
}

impl Bench {
    /// Measures the server of a root with a run of `n` trials.
    pub fn serve(&self) -> Done {
        let scenario = self.scenario(&self.guests[1], self.n)?;
        // Two runs, for comparison and history.
        for _ in 0..2 {
            self.exec(&scenario, 2)?;
        }
        let results = self.results();
        let run = newest(&results)?;
        let rows = run.join("index.jsonl");
        let base = plain_read(&rows)?;
        println!(
            "\nthe server of a run of {} rows, s, and times the plain reading of them",
            self.n
        );
        println!("  read, parse each line   {:.2}", base.as_secs_f64());
        let server = Server::start(self, &results)?;
        thread::sleep(Duration::from_secs(2));
        let idle = server.memory("VmRSS:")?;
        let call = format!("/runs/{}", run.file_name().unwrap_or_default().to_string_lossy());
        for (name, path) in [
            ("first page", "/trials"),
            ("page of all rows", "/trials?offset=200"),
            ("tables", ""),
            ("filter, few", "/trials?filter=outcome(failed)"),
            ("filter, all", "/trials?filter=test(t*)"),
            ("order", "/trials?sort=-duration"),
            ("search, no trial", "/trials?q=zzz"),
            ("search, all ids", "/trials?q=t"),
            ("search, all outputs", "/trials?q=number"),
            ("failures", "/failures"),
            ("charts", "/summary"),
            ("matrix", "/matrix"),
            ("matrix, worst first", "/matrix?differs=true&worst_first=true"),
            ("timeline", "/timeline"),
            ("first comparison", "compare"),
            ("comparison", "compare"),
            ("first history", "history"),
            ("history", "history"),
        ] {
            let began = Instant::now();
            let path = match path {
                "compare" => "/compare".to_owned(),
                "history" => "/history?scenario=bench".to_owned(),
                part => format!("{call}{part}"),
            };
            server.ask("GET", &path, "")?;
            let took = began.elapsed().as_secs_f64();
            println!("  {name:22}  {took:.2} ({:.2})", took / base.as_secs_f64());
        }
        println!("  memory, MB: at most {:.1}", server.memory("VmHWM:")?);
        drop(server);
        // The second half of the rows is made again.
        let length = fs::metadata(&rows)?.len() / 2;
        let mut half = BufReader::new(File::options().read(true).write(true).open(&rows)?);
        half.seek_relative(length as i64)?;
        let torn = half.skip_until(b'\n')? as u64;
        half.get_ref().set_len(length + torn)?;
        let root = results.display().to_string();
        let mut resumed =
            self.runner(&["resume", "-q", "-j", "1", "latest", "--results", &root]).spawn()?;
        wait_for(&results, "benchmark.json", |run| run["sessions"][1].is_object())?;
        let server = Server::start(self, &results)?;
        thread::scope(|scope| -> Done {
            for _ in 0..BROWSERS {
                scope.spawn(|| server.ask("GET", &format!("{call}/events"), "").is_ok());
            }
            while resumed.try_wait()?.is_none() {
                server.ask("GET", &call, "")?;
                server.ask("GET", &format!("{call}/trials?sort=worst"), "")?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        })?;
        println!(
            "  memory, MB: idle {idle:.1}, at most with {BROWSERS} browsers that follow the run {:.1}",
            server.memory("VmHWM:")?
        );
        Ok(())
    }

    /// Compares stops over HTTP and by `runner stop`, each until a run with a guest that spins has ended.
    pub fn stops(&self) -> Done {
        let (folder, results) = (self.folder.path(), self.folder.path().join("spinning"));
        let module =
            "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))";
        fs::write(folder.join("endless.wasm"), wat::parse_str(module)?)?;
        let scenario = folder.join("endless.toml");
        fs::write(
            &scenario,
            "[providers.endless]\nplugin = \"endless.wasm\"\n[[tests]]\nid = \"a\"\ninput = 1\n",
        )?;
        let (scenario, root) = (scenario.display().to_string(), results.display().to_string());
        fs::create_dir(&results)?;
        let server = Server::start(self, &results)?;
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..2 * STOPS {
            let mut run = self.runner(&["exec", "-q", "--results", &root, &scenario]).spawn()?;
            wait_for(&results, "live.json", |live| live["in_flight"][0].is_object())?;
            let began = Instant::now();
            if round % 2 == 0 {
                server.ask("POST", "/runs/latest/stop", "{\"mode\":\"kill\"}")?;
            } else {
                self.runner(&["stop", "--kill", "--results", &root]).status()?;
            }
            run.wait()?;
            took[round % 2].push(began.elapsed().as_secs_f64() * 1e3);
        }
        let [http, command] = took.each_mut().map(|all| {
            all.sort_by(f64::total_cmp);
            median(all)
        });
        println!("\na stop of a guest that spins, to the end of its run, median of {STOPS}, ms");
        println!("  runner stop             {command:.0}");
        println!("  over HTTP               {http:.0} ({:.2})", http / command);
        Ok(())
    }
}

/// Waits until a file of the newest run is JSON with a property.
fn wait_for(results: &Path, name: &str, is_met: fn(&Value) -> bool) -> Done {
    let began = Instant::now();
    loop {
        let text = newest(results).and_then(|run| Ok(fs::read(run.join(name))?));
        let value = text.ok().and_then(|text| serde_json::from_slice(&text).ok());
        if value.as_ref().is_some_and(is_met) {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(format!("the run has not started, by its {name}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Server {
    fn start(bench: &Bench, results: &Path) -> Done<Self> {
        let token = bench.folder.path().join("token");
        let (results, file) = (results.display().to_string(), token.display().to_string());
        let args = ["--listen", "127.0.0.1:0", "--results", &results, "--token-file", &file];
        let mut command = bench.runner(&[&["serve"], &args[..]].concat());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let printed = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut lines = printed.lines();
        let link = lines.find_map(|line| line.ok().filter(|line| line.starts_with("link:")));
        let host = link.as_deref().and_then(|link| link.split('/').nth(2));
        let port = host.and_then(|host| host.rsplit_once(':')?.1.parse().ok());
        thread::spawn(move || lines.for_each(drop));
        let token = fs::read_to_string(token)?.trim().to_owned();
        Ok(Self { child, port: port.ok_or("no link")?, token })
    }

    /// Sends a request, and reads the answer to its end.
    fn ask(&self, method: &str, path: &str, body: &str) -> Done {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = String::from_utf8_lossy(&answer[..answer.len().min(300)]);
        let is_done = head.starts_with("HTTP/1.1 2");
        is_done.then_some(()).ok_or_else(|| format!("{method} {path}: {head}").into())
    }

    /// Returns a value of the process's status, in MB.
    fn memory(&self, key: &str) -> Done<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = value.and_then(|value| value.split_whitespace().next()).ok_or("no memory")?;
        Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
