// The real server, as a process of these tests.
import { spawn } from "node:child_process";
import { once } from "node:events";

/** Starts it in the folder `PAGES`; `at` is where it listens, port 0 for any. */
export async function serve(at, ...options) {
  const results = options.includes("--results") ? [] : ["--results", "results"];
  const args = ["serve", ...results, "--scenarios", "scenarios", "--listen", at, ...options];
  const child = spawn(process.env.RUNNER, args, { cwd: process.env.PAGES, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const link = await new Promise((found, failed) => {
    const hear = (bytes) => {
      said += bytes;
      const link = said.match(/http:\/\/\S+/);
      if (link) found(link[0]);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", () => failed(new Error(`the server has ended: ${said}`)));
  });
  const { host, origin } = new URL(link);
  return {
    link, host, origin,
    async kill(signal = "SIGKILL") {
      const ended = once(child, "exit");
      child.kill(signal);
      await ended;
    },
  };
}
