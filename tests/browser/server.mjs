// The server under test: one that runs already (TWOCAN_URL), a command that prints where it listens (TWOCAN_SERVER,
// such as `target/release/twocan serve --http 127.0.0.1:0`), or the fixture server beside this file.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const FIXTURE = `${JSON.stringify(process.execPath)} ${JSON.stringify(fileURLToPath(new URL("fixture-server.mjs", import.meta.url)))}`;
/** A log line that says where the page is: any address of this machine with a port. */
const ADDRESS = /\b(?:https?:\/\/)?(127\.0\.0\.1|localhost|\[::1\]):(\d{2,5})\b/;
const START_WITHIN_MS = 30_000;

/**
 * @param {string} [words] further flags, for a server of our own
 * @returns {Promise<{url: string, isFixture: boolean, signal: (name: NodeJS.Signals) => void, close: () => void}>}
 */
export async function startServer(words = "") {
  const running = process.env.TWOCAN_URL;
  if (running) return { url: running.replace(/\/+$/, ""), isFixture: false, signal() {}, close() {} };
  const command = process.env.TWOCAN_SERVER ?? FIXTURE;
  const child = spawn("/bin/sh", ["-c", `exec ${command} ${words}`], { stdio: ["ignore", "pipe", "pipe"] });
  const said = [];
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no address from: ${command}\n${said.join("\n")}`)), START_WITHIN_MS);
    const look = (line) => {
      said.push(line);
      if (process.env.VERBOSE) console.log(`  [server] ${line}`);
      const found = ADDRESS.exec(line);
      if (!found || !/http/i.test(line)) return;
      clearTimeout(timer);
      resolve(`http://${found[1]}:${found[2]}`);
    };
    createInterface({ input: child.stdout }).on("line", look);
    createInterface({ input: child.stderr }).on("line", look);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}\n${said.join("\n")}`)));
  });
  return { url, isFixture: !process.env.TWOCAN_SERVER, signal: (name) => child.kill(name), close: () => child.kill("SIGTERM") };
}
