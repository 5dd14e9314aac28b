// The native programs beside the browsers: `twocan` (TWOCAN_BIN) and the examples, which cargo puts into the folder
// `examples` beside it (or TWOCAN_EXAMPLES).
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { until } from "./driver.mjs";

/** npm runs in this folder, whoever calls it in the root; so the path is made whole once. */
export const BINARY = process.env.TWOCAN_BIN ? resolve(process.env.TWOCAN_BIN) : undefined;
const EXAMPLES = process.env.TWOCAN_EXAMPLES ?? (BINARY && join(dirname(BINARY), "examples"));

/** Why a test with the binary cannot run, or false. */
export const withoutBinary = BINARY ? false : "TWOCAN_BIN is not set";

/** Path of an example, or undefined where it was not built. @param {string} name */
export function example(name) {
  const path = EXAMPLES && join(EXAMPLES, name);
  return path && existsSync(path) ? path : undefined;
}

/**
 * A program that runs until the test ends, and what it says.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} [env] besides the environment of the tests
 */
export function start(t, program, args, env = {}) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
  /** @type {string[]} */ const out = [];
  /** @type {string[]} */ const err = [];
  const name = program.replace(/.*\//, "");
  for (const [stream, lines] of [[child.stdout, out], [child.stderr, err]]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      if (process.env.VERBOSE) console.log(`  [${name}] ${line}`);
    });
  }
  child.stdin.on("error", () => {}); // it may have ended
  /** @type {Promise<number | null>} */
  const ended = new Promise((done) => child.once("exit", (code) => done(code)));
  t.after(() => child.kill("SIGKILL"));
  return {
    child,
    out,
    err,
    ended,
    /** Waits for a line on either stream that fits, and returns the match. @param {RegExp} pattern @param {number} [within] ms */
    says: (pattern, within) =>
      until(`${name}: ${pattern}`, () => {
        for (const line of [...out, ...err]) {
          const found = pattern.exec(line);
          if (found) return found;
        }
        return null;
      }, within, () => [...out, ...err].slice(-20).join("\n")),
    /** @param {string} line */
    write: (line) => child.stdin.write(`${line}\n`),
    /** As Ctrl-C or a service manager would; the exit code. */
    stop: () => (child.kill("SIGTERM"), ended),
  };
}
