//! Answers of a local model server with faults, against the same answers without them.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::{Bench, Done, measured, newest};

/// Questions that the server has refused once.
type Refused = Mutex<HashSet<usize>>;

impl Bench {
    /// Prints the CPU time of `n` trials whose server sends 429, 500, parts, fences and thinking.
    pub fn models(&self, n: usize) -> Done {
        let folder = self.folder.path();
        let list: String =
            (0..n).map(|id| format!("{{\"id\":\"t{id}\",\"input\":\"{id}\"}}\n")).collect();
        fs::write(folder.join("questions.jsonl"), list)?;
        let mut costs = Vec::new();
        for has_faults in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let origin = format!("http://{}", listener.local_addr()?);
            let refused = Arc::new(Refused::default());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let refused = has_faults.then(|| Arc::clone(&refused));
                    thread::spawn(move || serve(&stream, refused.as_deref()));
                }
            });
            let scenario = folder.join(format!("models-{has_faults}.toml"));
            fs::write(
                &scenario,
                format!(
                    "[providers.model]\nplugin = \"bundled:chat\"\n\
                     config = {{ base_url = \"{origin}/v1\", model = \"m\", api_key_secret = \"\", output = \"json\", strip = \"think\" }}\n\
                     grants = {{ net = [\"{origin}\"] }}\n\
                     [defaults]\nretries = {{ max = 3, backoff = \"1ms\" }}\n\
                     [[test_lists]]\nfiles = [\"questions.jsonl\"]\n\
                     expect = {{ json = {{ answer = 42 }} }}\n"
                ),
            )?;
            let (scenario, results) =
                (scenario.display().to_string(), folder.join("models").display().to_string());
            let exec = |more: &[&str]| {
                let flags = ["exec", "-q", "-j", "8", "--results", &results, &scenario];
                let mut command = self.runner(&[&flags[..], more].concat());
                measured(|| Ok(command.status()?))
            };
            // The first run compiles the plugin.
            exec(&["--first", "1"])?;
            let (status, cost) = exec(&[])?;
            let rows = fs::read_to_string(newest(&folder.join("models"))?.join("index.jsonl"))?;
            let retried = rows.lines().count() - n;
            if !status.success() || (retried > 0) != has_faults {
                return Err(format!("{status}, {retried} retries").into());
            }
            costs.push((cost, retried));
        }
        let [(plain, _), (faulty, retried)] = &costs[..] else { return Ok(()) };
        println!("\n{n} answers of a local model server, s: wall, CPU");
        println!("  without faults         {:.2} {:.2}", plain.wall / 1e6, plain.cpu / 1e6);
        println!(
            "  with {retried:6} retries    {:.2} {:.2} ({:.2} CPU)",
            faulty.wall / 1e6,
            faulty.cpu / 1e6,
            faulty.cpu / plain.cpu
        );
        Ok(())
    }
}

/// Answers the requests of a connection. Without `refused`, each answer is the plainest.
fn serve(stream: &TcpStream, refused: Option<&Refused>) -> Option<()> {
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
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let question = body["messages"][0]["content"].as_str()?.parse().ok()?;
        let (status, body) = match refused {
            None => (200, answer("{\\\"answer\\\": 42}")),
            Some(refused) => faulty(question, refused),
        };
        let head = format!(
            "HTTP/1.1 {status} Status\r\nretry-after-ms: 1\r\ncontent-length: {}",
            body.len()
        );
        writer.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).ok()?;
    }
}

/// Returns the status and the body of an answer to a question, each eighth of another kind.
fn faulty(question: usize, refused: &Refused) -> (u16, String) {
    let fenced = "```json\\n{\\\"answer\\\": 42}\\n```";
    let kind = question % 8;
    let is_first = kind < 4 && refused.lock().is_ok_and(|mut refused| refused.insert(question));
    let error = |code: u16| format!("{{\"error\": {{\"message\": \"no\", \"code\": {code}}}}}");
    match kind {
        0 if is_first => (429, error(429)),
        1 if is_first => (500, error(500)),
        2 if is_first => (503, "busy".to_owned()),
        3 if is_first => (200, error(502)),
        4 => {
            let part = "[{\"type\": \"text\", \"text\": \"{\\\"answer\\\": 42}\"}]";
            (200, format!("{{\"choices\": [{{\"message\": {{\"content\": {part}}}}}]}}"))
        }
        5 => (200, answer(fenced)),
        6 => (200, answer(&format!("<think>{{\\\"answer\\\": 1}}</think>\\n{fenced}"))),
        _ => (200, answer("{\\\"answer\\\": 42}").replace(": 9,", ": \"9\",")),
    }
}

/// Returns the body of an answer, whose text is the inside of a JSON string.
fn answer(text: &str) -> String {
    format!(
        "{{\"choices\": [{{\"message\": {{\"role\": \"assistant\", \"content\": \"{text}\"}}}}], \
         \"usage\": {{\"prompt_tokens\": 9, \"completion_tokens\": 5}}}}"
    )
}
