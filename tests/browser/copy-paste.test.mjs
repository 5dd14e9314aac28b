// Two sides without a server between, in every pairing of the browsers.
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertQuiet } from "./meeting.mjs";
import { startServer } from "./server.mjs";

let server;
const browsers = {};
before(async () => {
  server = await startServer();
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

/** The text to carry over. */
async function mine(page, type) {
  return page.until(`an ${type} with candidates`, (wanted) => {
    const text = document.querySelector("#mine").value;
    return text.includes(`"type":"${wanted}"`) && text.includes("a=candidate") && text;
  }, type);
}

async function paste(page, text) {
  await page.evaluate((value) => (document.querySelector("#theirs").value = value), text);
  await page.click("#use");
}

for (const [caller, callee] of [["chromium", "firefox"], ["firefox", "chromium"]]) {
  test(`${caller} calls ${callee} by copy and paste, and they write to each other`, async (t) => {
    const a = await browsers[caller].newPage();
    const b = await browsers[callee].newPage();
    t.after(() => Promise.all([a.close(), b.close()]));
    await a.goto(`${server.url}/copy-paste.html`);
    await b.goto(`${server.url}/copy-paste.html`);
    await a.click("#begin");
    await paste(b, await mine(a, "offer"));
    await paste(a, await mine(b, "answer"));
    for (const [from, to, text] of [[a, b, "Hello there"], [b, a, "And hello to you"]]) {
      await from.until("the channel", () => !document.querySelector("#text").disabled);
      await from.type("#text", text);
      await from.press("Enter");
      await to.until(text, (wanted) => document.querySelector("#log").textContent.includes(`They: ${wanted}`), text);
    }
    assertQuiet(a, b);
  });
}

test("what is no description is said", async (t) => {
  const page = await browsers.chromium.newPage();
  t.after(() => page.close());
  await page.goto(`${server.url}/copy-paste.html`);
  for (const [text, words] of [["hello", "starts with {"], ['{"type":"pranswer","sdp":""}', "no offer and no answer"], ['{"type":"answer","sdp":"v=0"}', "no offer was made here"], ['{"type":"offer","sdp":"v=0"}', "could not be used"]]) {
    await paste(page, text);
    await page.until(words, (wanted) => document.querySelector("#state").textContent.includes(wanted), words);
  }
});
