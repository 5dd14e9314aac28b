// Runs the test files one after another: those that are named, or all. A file that fails runs once more, alone, at
// the end: two real browsers and a loaded machine have races of their own. Whatever needed that is listed as
// UNSTEADY, to be looked into, and what fails twice has failed.
import { readdirSync } from "node:fs";
import { basename, resolve } from "node:path";
import { run } from "node:test";
import { tap } from "node:test/reporters";

const folder = import.meta.dirname;
const named = process.argv.slice(2);
const files = (named.length > 0 ? named : readdirSync(folder).filter((name) => name.endsWith(".test.mjs")).toSorted()).map((name) => resolve(folder, name));

/** @param {string[]} files @returns {Promise<Map<string, string[]>>} the files that failed, with what failed in them */
async function failing(files) {
  const failed = new Map();
  const events = run({ files, concurrency: 1 });
  events.on("test:fail", ({ name, file, todo }) => {
    if (todo !== undefined) return;
    const of = files.find((own) => own === file || own === name) ?? file ?? "?";
    failed.set(of, [...(failed.get(of) ?? []), basename(name)]);
  });
  const output = events.compose(tap);
  output.pipe(process.stdout, { end: false });
  await new Promise((ends, breaks) => output.on("end", ends).on("error", breaks));
  return failed;
}

const first = await failing(files);
if (first.size === 0) process.exit(0);
const again = [...first.keys()].filter((file) => files.includes(file));
console.log(`\n# once more: ${again.map((file) => basename(file)).join(" ")}`);
const second = await failing(again);
for (const [file, tests] of first) {
  const still = second.get(file) ?? (again.includes(file) ? [] : tests);
  for (const test of tests.filter((test) => !still.includes(test))) console.log(`# UNSTEADY ${basename(file)}: ${test}`);
  for (const test of still) console.log(`# FAILED ${basename(file)}: ${test}`);
}
process.exit(second.size > 0 || again.length < first.size ? 1 : 0);
