// The page /copy-paste.html with the example `chat` in a terminal: both roles, both browsers, with the preferences that
// people have, so with candidates that are hidden by multicast DNS.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertQuiet } from "./meeting.mjs";
import { example, start } from "./native.mjs";
import { startServer } from "./server.mjs";

const CHAT = example("chat");
const skip = CHAT ? false : "the example `chat` is not built (cargo build --examples, TWOCAN_BIN or TWOCAN_EXAMPLES)";

let server;
const browsers = {};
before(async () => {
  if (skip) return;
  server = await startServer();
  browsers.chromium = await launch("chromium", { stock: true });
  browsers.firefox = await launch("firefox", { stock: true });
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

/** The one line that a person would copy. */
async function printed(terminal, type) {
  const [line] = await terminal.says(new RegExp(`^\\{.*"type":"${type}".*\\}$`));
  return line;
}

/** What the page shows to be copied, as a person copies it: the text as it is. */
function shown(page, type) {
  return page.until(`an ${type}`, (wanted) => {
    const text = document.querySelector("#mine").value;
    return text.includes(`"type":"${wanted}"`) && text;
  }, type);
}

async function paste(page, text) {
  await page.evaluate((value) => (document.querySelector("#theirs").value = value), text);
  await page.click("#use");
}

for (const browser of ["chromium", "firefox"]) {
  for (const role of ["caller", "callee"]) {
    test(`the terminal as ${role} and ${browser} write to each other`, { skip }, async (t) => {
      const page = await browsers[browser].newPage();
      t.after(() => page.close());
      await page.goto(`${server.url}/copy-paste.html`);
      const terminal = start(t, CHAT, [role]);
      if (role === "caller") {
        await paste(page, await printed(terminal, "offer"));
        terminal.write(await shown(page, "answer"));
      } else {
        await page.click("#begin");
        terminal.write("what is this?"); // a person pastes the wrong thing first
        await terminal.says(/one line from \{ to \}/);
        terminal.write(await shown(page, "offer"));
        await paste(page, await printed(terminal, "answer"));
      }
      await terminal.says(/^Connected/);
      await page.until("the channel", () => !document.querySelector("#text").disabled);
      terminal.write("Grüße aus dem Terminal ✓");
      await page.until("the terminal's words", () => document.querySelector("#log").textContent.includes("They: Grüße aus dem Terminal ✓"));
      await page.type("#text", "and hello to you");
      await page.press("Enter");
      await terminal.says(/^They: and hello to you$/);

      if (role === "caller") {
        terminal.write("the last words");
        terminal.child.stdin.end(); // Ctrl-D
        assert.equal(await terminal.ended, 0);
        await page.until("the last words", () => document.querySelector("#log").textContent.includes("They: the last words"));
        await page.until("the page cannot write any more", () => document.querySelector("#text").disabled);
      } else {
        await page.goto("about:blank");
        await terminal.says(/The other side is gone/);
        assert.equal(await terminal.ended, 0);
      }
      assertQuiet(page);
    });
  }
}
