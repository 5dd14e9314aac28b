// Whether a page can be used by all: with a program in place of a mouse or eyes, and on any width.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No violation of WCAG 2.2 A and AA that a program can find. */
export async function assertAccessible(page, where) {
  await page.page.evaluate(await axe);
  const violations = await page.evaluate(async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations: found } = await globalThis.axe.run(document, { runOnly: { type: "tag", values: tags } });
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join("\n    ")}`);
  });
  assert.deepEqual(violations, [], where);
}

/** Nothing reaches over the side, and what is pressed is large enough to be pressed. */
export async function assertFits(page, where) {
  const wrong = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const found = [];
    if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
    for (const element of document.querySelectorAll("button, a, input, select, textarea, h1, h2, p")) {
      if (!element.checkVisibility({ visibilityProperty: true }) || element.closest(".unseen")) continue;
      const { left, right, width: wide, height } = element.getBoundingClientRect();
      if (wide > 0 && (left < -1 || right > width + 1)) found.push(`${element.outerHTML.slice(0, 100)} from ${left} to ${right}`);
      if (element.matches("button") && wide > 0 && (wide < 32 || height < 32)) found.push(`${element.outerHTML.slice(0, 100)} is ${wide}×${height}`);
    }
    return found;
  });
  assert.deepEqual(wrong, [], where);
}
