// Whatever a person reads or hears on the pages is there in every language.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { formatBytes, formatRate } from "../../web/app/format.js";
import { listed } from "../../web/app/gathered.js";
import { LANGUAGES, languageFor, listing, number, speak, t, tn } from "../../web/app/words.js";

const WEB = fileURLToPath(new URL("../../web/", import.meta.url));
const APP = join(WEB, "app");
/** What is in English for all: the page for operators, reports for those who look into a call, names and drawings. */
const ENGLISH = /^(admin|join-token|report|room-names|icons)/;
/** Names, of things and of keys. */
const NAMES = new Set(["Twocan", "GStreamer", "OBS Studio", "English", "Deutsch", "Français", "Español", "Esc"]);
/** What stands before a text that nobody reads: names of classes and elements, what is compared, what goes to the console. */
const UNREAD = /(className ?[:=] ?|rel: |text: |case |[!=]== ?|from |import |import\(|console\.\w+\(|classList\.\w+\(|querySelector(All)?\(|closest\(|matches\(|includes\(|(Error|Exception)\(|\.cancel\()$/;

const languages = Object.keys(LANGUAGES).filter((language) => language !== "en");
const dictionaries = await Promise.all(languages.map(async (language) => [language, (await import(`../../web/app/languages/${language}.js`)).default]));
const modules = readdirSync(APP).filter((name) => name.endsWith(".js") && !ENGLISH.test(name));
const classes = new Set(
  readdirSync(WEB, { recursive: true })
    .filter((name) => name.endsWith(".css"))
    .flatMap((name) => [...readFileSync(join(WEB, name), "utf8").matchAll(/\.([a-z][\w-]*)/g)].map(([, one]) => one)),
);

/**
 * The texts in a module, of templates with `…` for what is put in; comments and regular expressions are left out.
 *
 * @param {string} source
 * @returns {{text: string, start: number, end: number, isTemplate: boolean}[]}
 */
function literals(source) {
  const found = [];
  let at = 0;
  const run = (/** @type {boolean} */ isInner) => {
    for (let depth = 0; at < source.length; at += 1) {
      const [c, pair] = [source[at], source.slice(at, at + 2)];
      if (pair === "//" || pair === "/*") at = Math.min(...[pair === "//" ? source.indexOf("\n", at) : source.indexOf("*/", at) + 1, source.length].filter((end) => end >= at));
      else if (c === '"' || c === "'" || c === "`") literal(c);
      else if (c === "/" && /(^|[=(,:[!&|?{};]|return)\s*$/.test(source.slice(Math.max(0, at - 20), at))) at += /^\/(?:[^\\/[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/.exec(source.slice(at))[0].length - 1;
      else if (c === "{") depth += 1;
      else if (c === "}" && isInner && depth === 0) return;
      else if (c === "}") depth -= 1;
    }
  };
  const literal = (/** @type {string} */ quote) => {
    const start = at;
    let text = "";
    for (at += 1; at < source.length && source[at] !== quote; at += 1) {
      if (source[at] === "\\") text += /[nrt]/.test(source[(at += 1)]) ? " " : source[at];
      else if (quote === "`" && source.startsWith("${", at)) {
        at += 2;
        run(true);
        text += "…";
      } else text += source[at];
    }
    found.push({ text, start, end: at + 1, isTemplate: quote === "`" });
  };
  run(false);
  assert.ok(at >= source.length);
  return found;
}

/**
 * The texts that go through `t` and `tn`, and those that should.
 *
 * @param {string} source
 */
function words(source) {
  /** @type {{english: string, one?: string}[]} */
  const said = [];
  const slipped = [];
  const all = literals(source);
  const isIn = (/** @type {number} */ at) => all.some(({ start, end }) => start < at && at < end);
  const given = new Set();
  for (const { text, start, end, isTemplate } of all) {
    if (isTemplate) continue;
    const before = source.slice(0, start);
    const second = all.find((next) => /^,\s*$/.test(source.slice(end, next.start)) && next.start > end);
    if (/(?<![.\w])t\(\s*$/.test(before)) {
      said.push({ english: text });
      given.add(start);
    } else if (/(?<![.\w])tn\([^"`]*,\s*$/.test(before) && second) {
      said.push({ english: second.text, one: text });
      given.add(start).add(second.start);
    }
  }
  // A text that is put together here is in no dictionary.
  for (const { index } of source.matchAll(/(?<![.\w#]|function )tn?\((?!\s*\w*:)/g)) {
    const comment = source.slice(source.lastIndexOf("\n", index) + 1, index);
    if (isIn(index) || /^\s*(\*|\/\/)/.test(comment)) continue;
    const next = [...given].filter((start) => start > index).sort((a, b) => a - b)[0];
    if (next === undefined || !/^tn?\([^"`]*$/.test(source.slice(index, next))) slipped.push(source.slice(index, index + 40));
  }
  for (const { text, start, end } of all) {
    const plain = text.replaceAll("…", " ").trim();
    const reads = /\p{Ll}{2,},? \p{L}/u.test(plain) || /^\p{Lu}\p{Ll}+$/u.test(plain) || /\p{Ll}…$/u.test(text);
    const isKey = /^\s*:/.test(source.slice(end)) && /[{,\n]\s*$/.test(source.slice(0, start));
    const isSelector = /^[a-z]+(, [a-z]+)*(, \[|, \.|$)/.test(text) && text.includes(",");
    const isClasses = plain.split(/\s+/).every((one) => classes.has(one));
    if (reads && !given.has(start) && !isKey && !isSelector && !isClasses && !NAMES.has(text) && !UNREAD.test(source.slice(Math.max(0, start - 40), start))) slipped.push(text);
  }
  return { said, slipped };
}

const places = (/** @type {string} */ text) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();
const used = new Map();
const slipped = [];
for (const name of modules) {
  const { said, slipped: here } = words(readFileSync(join(APP, name), "utf8"));
  for (const one of said) used.set(one.english, one);
  if (name !== "words.js") slipped.push(...here.map((text) => `${name}: ${text}`));
}
for (const name of readdirSync(WEB).filter((one) => one.endsWith(".html"))) {
  for (const english of textsOf(readFileSync(join(WEB, name), "utf8"))) used.set(english, { english });
}

/** What `words.js` puts in another language in a document. @param {string} html */
function textsOf(html) {
  return [...html.matchAll(/<[^>]*\sdata-words[^>]*>([^<]*)/g)].flatMap(([tag, text]) => [text, ...[.../(?:placeholder|aria-label)="([^"]*)"/g[Symbol.matchAll](tag)].map(([, value]) => value)]).map((text) => text.replace(/\s+/g, " ").trim()).filter(Boolean);
}

afterEach(() => speak("en"));

for (const [language, dictionary] of dictionaries) {
  test(`${language}: every text has an entry, and no entry is unused`, () => {
    assert.ok(used.size > 400, `${used.size} texts`);
    assert.deepEqual([...used.keys()].filter((english) => !Object.hasOwn(dictionary, english)), []);
    assert.deepEqual(Object.keys(dictionary).filter((english) => !used.has(english)), []);
  });

  test(`${language}: places are those of the English text, and there is a form for every number`, () => {
    const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const { english, one } of used.values()) {
      const entry = dictionary[english];
      assert.equal(typeof entry, one === undefined ? "string" : "object", english);
      if (typeof entry === "string") {
        assert.deepEqual(places(entry), places(english), entry);
        assert.ok(entry.trim() !== "" && !entry.includes("^"), english);
        continue;
      }
      assert.ok(entry.one && entry.other, english);
      assert.deepEqual(Object.keys(entry).filter((form) => !categories.includes(form)), [], english);
      for (const text of Object.values(entry)) assert.deepEqual(places(text), places(english), text);
    }
  });

  test(`${language}: a text is not the English one, but for those that are alike`, () => {
    const alike = [...used.values()].filter(({ english }) => dictionary[english] === english && places(english).length === 0 && /\p{Ll}{2,} \p{L}/u.test(english));
    assert.deepEqual(alike, []);
  });
}

test("no English text slips past the dictionaries", () => {
  assert.ok(modules.length > 40);
  assert.deepEqual(slipped, []);
  // The check itself finds them, and nothing else.
  const found = (/** @type {string} */ source) => words(source).slipped.length;
  for (const source of ['h("p", {}, "The call goes on.")', 'toasts.say(`${name} has left`)', 'element.title = "Close"', 'on ? "Camera on" : x', "announce('Reconnecting…')", "t(text)", "t(on ? one : two)", "t(`${a} b`)", 'tn(2, one, "more")', 'h("a", { "aria-label": "Send a file" })']) {
    assert.equal(found(source), 1, source);
  }
  for (const source of ['t("The call goes on.")', 'tn(2, "{count} message came", "{count} messages came")', 'h("p", { className: "button small" })', 'event.key === "Enter"', "// says t(what) to them", 'x.replace(/["a b]/g, t("So it is"))']) {
    assert.equal(found(source), 0, source);
  }
});

test("the language is the one that was chosen, else the first of the browser's that there is", () => {
  assert.equal(languageFor("auto", ["de-AT", "en"]), "de");
  assert.equal(languageFor("auto", ["pl", "fr-CA", "de"]), "fr");
  assert.equal(languageFor("auto", ["en-GB", "de"]), "en");
  assert.equal(languageFor("auto", ["pl-PL"]), "en");
  assert.equal(languageFor("auto", []), "en");
  assert.equal(languageFor("es", ["de"]), "es");
  assert.equal(languageFor("constructor", ["de"]), "de");
});

test("texts are filled in, counted and told apart in each language", async () => {
  const say = () => [t("{name} joined", { name: "{x}" }), tn(1, "{count} participant", "{count} participants"), tn(3, "{count} participant", "{count} participants"), t("Speaker"), t("Speaker ^layout"), listed(["Ada", "Bob", "Eve", "Ina"])];
  assert.deepEqual(say(), ["{x} joined", "1 participant", "3 participants", "Speaker", "Speaker", "Ada, Bob and 2 others"]);
  await speak("de");
  assert.deepEqual(say(), ["{x} ist beigetreten", "1 Person", "3 Personen", "Lautsprecher", "Wer spricht", "Ada, Bob und 2 weitere"]);
  await speak("fr");
  assert.equal(tn(0, "{count} participant", "{count} participants"), "0 participant");
  assert.equal(tn(2_000_000, "{count} participant", "{count} participants"), "2000000 participants");
  await speak("es");
  assert.equal(listing(["Ada", "Inés"]), "Ada e Inés");
});

test("numbers are written as in the language, with the region where it is known", async () => {
  assert.deepEqual([number(1234.5, 1), formatRate(2_500_000), formatBytes(999)], ["1234.5", "2.5 Mbit/s", "999 B"]);
  await speak("de", ["en", "de-DE"]);
  assert.deepEqual([number(1234.5, 1), formatRate(2_500_000)], ["1234,5", "2,5 Mbit/s"]);
  await speak("de", ["de-CH"]);
  assert.equal(number(0.5, 1), "0.5");
});

test("what a dictionary lacks is said in English", async () => {
  await speak("fr");
  assert.equal(t("{name} does ^later", { name: "Ada" }), "Ada does");
  assert.equal(tn(1, "{count} thing", "{count} things"), "1 thing");
  assert.equal(t("toString"), "toString");
});
