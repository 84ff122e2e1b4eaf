//! Calls of a tool against calls of the host by the same guest.

use std::path::Path;

use super::{Bench, Done, Figure, guest};

impl Bench {
    /// Prints the cost of a call of `bundled:echo` as a tool, with its step of the transcript, and of a call that only the host
    /// answers.
    pub(super) fn tools(&self, calls: u64, rounds: u64) -> Done {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let agent = guest(&root, "guest-contract-0-1-1-everything")?;
        let agent = agent.display();
        let steps = [r#"{ call = "echo", input = 1 }"#, r#"{ secret = "NONE" }"#];
        let mut scenarios = Vec::new();
        for (name, step) in ["tool", "host"].into_iter().zip(steps) {
            for count in [1, calls] {
                let path = self.folder.path().join(format!("tools-{name}-{count}.toml"));
                let text = format!(
                    "[tools.echo]\nplugin = \"bundled:echo\"\n\
                     [providers.agent]\nplugin = \"{agent}\"\ngrants.tools = [\"echo\"]\n\
                     limits.tool_calls = {calls}\nlimits.transcript = \"1GiB\"\n\
                     [[tests]]\nid = \"a\"\ninput = {{ repeat = {count}, input = {step} }}\n"
                );
                std::fs::write(&path, text)?;
                // The first run compiles the plugins.
                self.exec(&path, 1)?;
                scenarios.push(path);
            }
        }
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (costs, pair) in figures.iter_mut().zip(scenarios.chunks(2)) {
                let [one, all] = [self.exec(&pair[0], 1)?, self.exec(&pair[1], 1)?];
                let cost = super::Cost { wall: all.wall - one.wall, cpu: all.cpu - one.cpu };
                costs.push(cost.each(calls));
            }
        }
        let [tool, host] = figures.map(|costs| Figure::new(&costs));
        println!("\n{calls} calls of one attempt, µs per call, {rounds} rounds");
        println!("  of the host           {host}\n  of a tool             {tool}");
        println!("  tool - host, wall: {:.1} µs", tool.wall - host.wall);
        Ok(())
    }
}
