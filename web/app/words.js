/**
 * The words of the pages in the language of who reads them. English stands in the modules themselves; the others are
 * dictionaries in `languages/`, of which one is loaded, before any module that asks for a word goes on.
 *
 * @typedef {Record<string, string | number>} Values of the places in a text, such as `{name}`
 * @typedef {Partial<Record<Intl.LDMLPluralRule, string>> & {other: string}} Forms of a text that counts
 * @typedef {Record<string, string | Forms>} Dictionary by the English text
 */
import { remembered } from "./preferences.js";

/** As each language calls itself. */
export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", es: "Español" };

/** @typedef {keyof typeof LANGUAGES} Language */

/** @type {Record<Exclude<Language, "en">, () => Promise<{default: Dictionary}>>} */
const DICTIONARIES = {
  de: () => import("./languages/de.js"),
  fr: () => import("./languages/fr.js"),
  es: () => import("./languages/es.js"),
};

/** @type {Dictionary} */
let dictionary = {};
/** @type {Language} */
let language = "en";
/** With the region, for numbers and times; nothing for the browser's own. @type {string | undefined} */
let locale;
let plurals = new Intl.PluralRules("en");

/**
 * The language of the pages: the one that was chosen, else the first of the browser's that there is, else English.
 *
 * @param {string} preference `auto`, or a language
 * @param {readonly string[]} wanted such as `de-AT`, the dearest first
 * @returns {Language}
 */
export function languageFor(preference, wanted) {
  const known = [preference, ...wanted].map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => Object.hasOwn(LANGUAGES, tag));
  return /** @type {Language | undefined} */ (known) ?? "en";
}

/**
 * Speaks a language from here on; what was said stays as it is.
 *
 * @param {Language} next
 * @param {readonly string[]} [wanted] for the region
 */
export async function speak(next, wanted = []) {
  dictionary = next === "en" ? {} : (await DICTIONARIES[next]()).default;
  language = next;
  locale = next === "en" ? undefined : (wanted.find((tag) => tag.toLowerCase().split("-")[0] === next) ?? next);
  plurals = new Intl.PluralRules(next);
}

/**
 * A text in the language of the page; in English where the dictionary lacks it. Behind ` ^` stands what tells a text from
 * another that is the same in English, as in `Speaker ^layout`.
 *
 * @param {string} english a literal, as the tests look for all of them
 * @param {Values} [values]
 */
export function t(english, values = {}) {
  const known = own(english);
  return filled(typeof known === "string" ? known : english.replace(/ \^.*/, ""), values);
}

/**
 * A text that counts, in the form for that number; `{count}` is its place.
 *
 * @param {number} count
 * @param {string} one in English
 * @param {string} other in English, and the key of the dictionary
 * @param {Values} [values] of its other places
 */
export function tn(count, one, other, values = {}) {
  const known = own(other);
  const rule = plurals.select(count);
  const text = typeof known === "object" ? (known[rule] ?? known.other) : rule === "one" ? one : other;
  return filled(text, { count, ...values });
}

/** Says again what stands in a document itself, in elements with `data-words`. @param {ParentNode} root */
export function sayIn(root) {
  for (const element of root.querySelectorAll("[data-words]")) {
    const text = (element.textContent ?? "").replace(/\s+/g, " ").trim();
    if (text !== "") element.textContent = t(text);
    for (const name of ["aria-label", "placeholder"]) {
      const english = element.getAttribute(name);
      if (english) element.setAttribute(name, t(english));
    }
  }
}

/** For `Intl`, and what is like it. */
export function localeNow() {
  return locale;
}

/** @param {number} value @param {number} digits behind the point */
export function number(value, digits) {
  return value.toLocaleString(locale ?? "en", { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });
}

/** `Ada, Bob and Eve` @param {string[]} names */
export function listing(names) {
  return new Intl.ListFormat(locale ?? "en-GB").format(names);
}

/** As part of a sentence or list. @param {string} text that begins with a word that is no name or noun */
export function within(text) {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** @param {string} english */
function own(english) {
  return Object.hasOwn(dictionary, english) ? dictionary[english] : undefined;
}

/** @param {string} text @param {Values} values */
function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}

// Only pages that say so are in other languages: that for operators is not.
const page = globalThis.document?.documentElement;
if (page?.hasAttribute("data-languages")) {
  try {
    await speak(languageFor(remembered().language, navigator.languages), navigator.languages);
  } catch (error) {
    console.warn("no dictionary, so English", error);
  }
  page.lang = language;
}
