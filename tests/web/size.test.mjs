// How much the meeting page is: every file that it loads, each compressed as a server would.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const WEB = fileURLToPath(new URL("../../web", import.meta.url));
const LIMIT = 300_000;
/** What a file names that the page loads: links and scripts, modules, and workers beside them. */
const NAMES = {
  html: [/<link[^>]+href="([^"]+)"/g, /<script[^>]+src="([^"]+)"/g],
  css: [/url\(["']?([^"')]+)["']?\)/g, /@import "([^"]+)"/g],
  js: [/^\s*(?:import|export)\s[^;]*?from "([^"]+)"/gm, /^\s*import "([^"]+)"/gm, /\bimport\("([^"]+)"\)/g, /new URL\("([^"]+)", import\.meta\.url\)/g],
};

/** The paths of all that a page loads, from the root of the folder. @param {string} page */
function loaded(page) {
  const found = new Set([page]);
  for (const path of found) {
    const source = readFileSync(WEB + path, "utf8");
    const patterns = NAMES[path.split(".").pop()] ?? [];
    for (const pattern of patterns) {
      for (const [, name] of source.matchAll(pattern)) if (!name.startsWith("data:")) found.add(posix.resolve(dirname(path), name));
    }
  }
  return [...found];
}

test("the meeting page is less than 300 KB", (t) => {
  const paths = loaded("/index.html");
  for (const path of paths) assert.ok(existsSync(WEB + path), `${path} is there`);
  // Nothing is measured where nothing is found.
  for (const path of ["/style.css", "/app/call.css", "/app/stage.js", "/sdk/room.js", "/sdk/sframe.js", "/sdk/sframe-worker.js", "/sdk/file-sink-worker.js", "/app/languages/de.js"]) assert.ok(paths.includes(path), `${path} is counted`);
  const sizes = paths.map((path) => gzipSync(readFileSync(WEB + path)).length);
  const sum = sizes.reduce((all, size) => all + size, 0);
  t.diagnostic(`${paths.length} files, ${sum} bytes compressed`);
  assert.ok(sum < LIMIT, `${sum} bytes: ${paths.map((path, index) => `${path} ${sizes[index]}`).join(", ")}`);
});

test("the other pages load nothing that is not there", () => {
  for (const page of ["/watch.html", "/publish.html", "/admin.html", "/copy-paste.html"]) {
    const paths = loaded(page);
    assert.ok(paths.length > 3, page);
    for (const path of paths) assert.ok(existsSync(WEB + path), `${page} loads ${path}`);
  }
});
