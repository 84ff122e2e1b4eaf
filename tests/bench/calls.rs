//! Runs whose attempts have a journal against the same runs without one.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{Bench, Cost, Done, Figure, guest, micros};

/// Requests of one attempt.
const REQUESTS: u64 = 30;
/// Size of a line that is synced.
const LINE: usize = 600;

impl Bench {
    /// Prints the cost of deterministic trials without network, and that of exchanges with a journal.
    pub(super) fn calls(&self, rounds: u64) -> Done {
        let plain = self.scenario(&self.guests[1], self.n)?;
        let deterministic = self.folder.path().join("deterministic.toml");
        let text = fs::read_to_string(&plain)?;
        fs::write(&deterministic, format!("{text}[run]\ndeterministic = true\n"))?;
        let mut costs = [const { Vec::new() }; 2];
        for _ in 0..rounds {
            for (costs, scenario) in costs.iter_mut().zip([&plain, &deterministic]) {
                costs.push(self.exec(scenario, 2)?.each(self.n));
                fs::remove_dir_all(self.results())?;
            }
        }
        let [plain, deterministic] = costs.map(|costs| Figure::new(&costs));
        println!("\n{} trials, {rounds} rounds, µs a trial: median (least to most)", self.n);
        println!("  plain             {plain}");
        println!("  deterministic     {deterministic}");
        let (wall, cpu) = (deterministic.wall / plain.wall, deterministic.cpu / plain.cpu);
        println!("  ratio             {wall:.3} (CPU {cpu:.3})");

        let sync = micros(sync(self.folder.path())?);
        println!("\nan exchange, µs; `fdatasync` of {LINE} bytes takes {sync:.0}");
        for (pause, attempts) in [(0, 1), (0, 32), (20, 32)] {
            let origin = serve(Duration::from_millis(pause))?;
            let [without, with] = [false, true].map(|has_journal| {
                let costs: Done<Vec<_>> =
                    (0..rounds).map(|_| self.agents(&origin, attempts, has_journal)).collect();
                costs.map(|costs| Figure::new(&costs))
            });
            let (without, with) = (without?, with?);
            println!(
                "  {attempts:2} attempts, answers after {pause:2} ms   without {:.0}, with a journal {:.0} (+{:.0}, {:.2} syncs; whole run {:.3})",
                without.wall,
                with.wall,
                with.wall - without.wall,
                (with.wall - without.wall) / sync,
                with.wall / without.wall,
            );
        }
        Ok(())
    }

    /// Returns the cost of a request of attempts that all run at once.
    fn agents(&self, origin: &str, attempts: u64, has_journal: bool) -> Done<Cost> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let plugin = guest(&root, "guest-web")?.with_file_name("guest_web.wasm");
        let scenario = self.folder.path().join("agents.toml");
        let request = format!("{{ by = \"agent\", url = {origin:?}, size = {REQUESTS} }}");
        fs::write(
            &scenario,
            format!(
                "[run]\njournal = {has_journal}\n[providers.web]\nplugin = {plugin:?}\n[providers.web.grants]\n\
                 net = [{origin:?}]\n[[tests]]\nid = \"one\"\nrepeat = {attempts}\ninput = {{ requests = [{request}] }}\n"
            ),
        )?;
        let cost = self.exec(&scenario, 32)?;
        fs::remove_dir_all(self.results())?;
        Ok(cost.each(REQUESTS))
    }
}

/// Returns the time of a write and `fdatasync` in a folder.
fn sync(folder: &Path) -> Done<Duration> {
    let file = File::create(folder.join("synced"))?;
    let line = [b'x'; LINE];
    let mut times = Vec::new();
    for number in 0..200 {
        let began = Instant::now();
        file.write_all_at(&line, number * LINE as u64)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Starts a server that answers each request after `pause`. Returns its origin.
fn serve(pause: Duration) -> Done<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(&stream, pause));
        }
    });
    Ok(origin)
}

fn answer(stream: &TcpStream, pause: Duration) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        thread::sleep(pause);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").ok()?;
    }
}
