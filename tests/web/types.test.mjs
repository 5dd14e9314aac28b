// The types of the web client: they check, and they say the same as the schemas.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const WEB = fileURLToPath(new URL("../../web/", import.meta.url));
const HERE = fileURLToPath(new URL(".", import.meta.url));
const SCHEMAS = fileURLToPath(new URL("../../docs/signaling/", import.meta.url));
/** Typedefs of `web/sdk/messages.js` and the schema that says the same. */
const PAIRS = {
  Publication: "publication",
  PeerInfo: "peer",
  IceServer: "ice-server",
  Limits: "limits",
  Authenticated: "authenticated",
  Resumed: "resumed",
  Joined: "joined",
  Left: "left",
  TrackChange: "track",
  MetadataChange: "metadata",
  Forward: "forward",
  Layers: "layers",
  TopologyChange: "topology",
  Settled: "settled",
  Speakers: "speakers",
  Subscribe: "subscribe",
  WaitingPeer: "waiting-peer",
  Waiting: "waiting",
  Lobby: "lobby",
  RoomState: "room",
  ChatHistory: "chat-history",
  KeptChat: "kept-chat",
  Muted: "muted",
  PermissionsChanged: "permissions",
  PermissionChange: "permission-change",
  Moderate: "moderate",
  Hand: "hand",
  Reaction: "reaction",
  Token: "token",
  Kicked: "kicked",
  ErrorData: "error",
};

/** @param {string[]} args */
function tsc(...args) {
  try {
    return execFileSync(join(HERE, "node_modules/.bin/tsc"), args, { cwd: HERE, encoding: "utf8" });
  } catch (error) {
    return `${error.stdout}${error.stderr}`;
  }
}

const schema = (name) => JSON.parse(readFileSync(join(SCHEMAS, `${name}.schema.json`), "utf8"));

/** A JSON Schema as a TypeScript type; what it does not know is an error, not `any`. */
function typeOf(node) {
  if (node.$ref) return typeOf(schema(node.$ref.replace(".schema.json", "")));
  if ("const" in node) return JSON.stringify(node.const);
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (node.anyOf) return node.anyOf.map(typeOf).join(" | ");
  switch (node.type) {
    case "object":
      if (!node.properties) return "Record<string, unknown>";
      return `{ ${Object.entries(node.properties)
        .map(([name, value]) => `${name}${node.required?.includes(name) ? "" : "?"}: ${typeOf(value)}`)
        .join("; ")} }`;
    case "array":
      return `(${typeOf(node.items)})[]`;
    case "integer":
    case "number":
      return "number";
    case "string":
    case "boolean":
    case "null":
      return node.type;
    case undefined:
      return "unknown";
    default:
      throw new Error(`no type for ${JSON.stringify(node)}`);
  }
}

test("the client passes the type checker", () => {
  assert.equal(tsc("-p", "jsconfig.json"), "");
});

test("the client's types and the schemas say the same", () => {
  const folder = mkdtempSync(join(tmpdir(), "twocan-types-"));
  try {
    const lines = Object.entries(PAIRS).map(
      ([type, name]) => `same<import(${JSON.stringify(join(WEB, "sdk/messages.js"))}).${type}, ${typeOf(schema(name))}>(true);`,
    );
    const same = [
      "type Flat<T> = T extends (infer U)[] ? Flat<U>[] : T extends object ? { [K in keyof T]: Flat<T[K]> } : T;",
      "type Same<A, B> = (<T>() => T extends Flat<A> ? 1 : 2) extends (<T>() => T extends Flat<B> ? 1 : 2) ? true : false;",
      "declare function same<A, B>(yes: Same<A, B>): void;",
    ];
    const file = join(folder, "same.ts");
    const flags = ["--noEmit", "--strict", "--allowJs", "--skipLibCheck", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable,dom.asynciterable", "--types", "", "--ignoreConfig"];
    writeFileSync(file, [...same, ...lines].join("\n"));
    assert.equal(tsc(...flags, file), "");
    // The check itself can fail.
    writeFileSync(file, [...same, `same<{ a: string }, { a?: string }>(true);`].join("\n"));
    assert.match(tsc(...flags, file), /error TS/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("nothing inline, nothing from elsewhere, nothing that is not served", () => {
  const files = readdirSync(WEB, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  // The server embeds the folder as it is.
  assert.deepEqual(files.filter((file) => !/\.(html|css|js|svg|webmanifest)$/.test(file)), []);
  assert.ok(files.length > 40);
  for (const file of files) {
    const text = readFileSync(file, "utf8");
    if (file.endsWith(".html")) assert.doesNotMatch(text, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/, file);
    if (/\.(html|css)$/.test(file)) assert.doesNotMatch(text, /(?:src|href)=["'](?:https?:)?\/\/|url\(\s*["']?(?:https?:)?\/\//, file);
    if (file.endsWith(".js")) assert.doesNotMatch(text, /\.innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(/, file);
    if (file.endsWith(".js")) assert.ok(text.split("\n").length < 600, `${file} is too long`);
  }
});
