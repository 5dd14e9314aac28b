/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Builds an element. Text is always text: nothing here parses HTML, so nothing that a participant writes can become it.
 *
 * Properties that start with `on` are listeners, those with a dash or the name `role`, `for`, `list` are attributes, the
 * rest are properties of the element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || ATTRIBUTES.has(name)) element.setAttribute(name, String(value));
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child || child === "").map((child) => /** @type {Node | string} */ (child)));
  return element;
}

const ATTRIBUTES = new Set(["role", "for", "list", "popover", "popovertarget"]);

/**
 * A text with something in the place of one of its names, softer than that.
 *
 * @param {string} text
 * @param {string} place such as `{room}`
 * @param {Child} child
 * @returns {Child[]}
 */
export function around(text, place, child) {
  const soft = (/** @type {string} */ part) => part !== "" && h("span", { className: "soft" }, part);
  const [before, after = ""] = text.split(place);
  return [soft(before), child, soft(after)];
}

/**
 * Replaces a text only when it changed, so that screen readers and selections are left in peace.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
