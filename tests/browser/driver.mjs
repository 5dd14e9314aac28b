// One small driver for both browsers: Debian's Chromium through Playwright, Debian's Firefox through Puppeteer and
// WebDriver BiDi (Playwright's own Firefox driver needs a patched browser).
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
/** How long a condition may take; generous, since two cores carry several encoders here. */
const WAIT_MS = 30_000;
/** Between two looks at a condition. */
const LOOK_MS = 100;

/**
 * @typedef {object} Options
 * @property {boolean} [stock] ICE as a person's browser has it: host addresses hidden by mDNS, no loopback candidates
 * @property {"grant" | "deny"} [permissions] what the person says to camera and microphone
 * @property {string} [alias] name under which Chromium finds 127.0.0.1, for a page that is not local and so not secure
 * @property {boolean} [anyCertificate] Chromium takes any certificate, as a person who clicks the warning away
 * @property {string} [downloads] folder for what the page hands out
 * @property {string} [shareTitle] title of the tab that the person picks for a screen share
 */

/**
 * @param {"chromium" | "firefox"} name
 * @param {Options} [options]
 */
export function launch(name, options = {}) {
  return name === "firefox" ? launchFirefox(options) : launchChromium(options);
}

/** @param {Options} options */
async function launchChromium({ stock = false, permissions = "grant", shareTitle, downloads, alias, anyCertificate = false }) {
  const args = [
    "--use-fake-device-for-media-stream",
    // The fake prompt would also pick a fake screen; a real tab is shared with the real picker, which picks by title.
    ...(permissions === "deny" ? ["--use-fake-ui-for-media-stream=deny"] : shareTitle ? [] : ["--use-fake-ui-for-media-stream"]),
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    ...(stock ? [] : ["--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection"]),
    ...(alias ? [`--host-resolver-rules=MAP ${alias} 127.0.0.1`] : []),
    ...(shareTitle ? [`--auto-select-tab-capture-source-by-title=${shareTitle}`] : []),
  ];
  // Of a tab whose sound is muted nothing is captured.
  const ignoreDefaultArgs = shareTitle ? ["--mute-audio"] : [];
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, chromiumSandbox: false, args, ignoreDefaultArgs });
  return {
    name: "chromium",
    /** @param {{width?: number, height?: number, dark?: boolean, reducedMotion?: boolean, init?: string, phone?: boolean, locale?: string, baseURL?: string}} [page] `locale`: what the person prefers, such as `de-DE` */
    async newPage({ width = 1280, height = 800, dark = false, reducedMotion = false, init, phone = false, locale } = {}) {
      const context = await browser.newContext({
        viewport: { width, height },
        colorScheme: dark ? "dark" : "light",
        reducedMotion: reducedMotion ? "reduce" : "no-preference",
        acceptDownloads: true,
        ignoreHTTPSErrors: anyCertificate,
        ...(locale ? { locale } : {}),
        ...(permissions === "grant" ? { permissions: ["camera", "microphone"] } : {}),
        ...(phone ? { hasTouch: true, isMobile: true, deviceScaleFactor: 2 } : {}),
      });
      if (init) await context.addInitScript({ content: init });
      const page = await context.newPage();
      const driven = new Page(page, "chromium");
      page.on("console", (message) => driven.heard(message.type(), message.text()));
      page.on("pageerror", (error) => driven.heard("error", String(error)));
      if (downloads) page.on("download", (download) => download.saveAs(join(downloads, download.suggestedFilename())));
      return driven;
    },
    close: () => browser.close(),
  };
}

/** @param {Options} options */
async function launchFirefox({ stock = false, permissions = "grant", downloads }) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: FIREFOX,
    headless: true,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": permissions === "grant",
      "permissions.default.camera": permissions === "grant" ? 0 : 2,
      "permissions.default.microphone": permissions === "grant" ? 0 : 2,
      "media.autoplay.default": 0,
      "app.update.enabled": false,
      "network.connectivity-service.enabled": false,
      "browser.download.alwaysOpenPanel": false,
      ...(downloads ? { "browser.download.folderList": 2, "browser.download.dir": downloads, "browser.download.useDownloadDir": true } : {}),
      ...(stock
        ? {}
        : { "media.peerconnection.ice.obfuscate_host_addresses": false, "media.peerconnection.ice.loopback": true }),
    },
  });
  return {
    name: "firefox",
    /** @param {{width?: number, height?: number, init?: string}} [page] */
    async newPage({ width = 1280, height = 800, init } = {}) {
      // A tab behind another is hidden, and the page then asks for no pictures.
      const page = await browser.newPage({ type: "window" });
      await page.setViewport({ width, height });
      if (init) await page.evaluateOnNewDocument(init);
      const driven = new Page(page, "firefox");
      page.on("console", (message) => driven.heard(message.type(), message.text()));
      page.on("pageerror", (error) => driven.heard("error", String(error)));
      return driven;
    },
    close: () => browser.close(),
  };
}

/** The same few calls over a page of either browser. */
export class Page {
  /** Everything that the page's console said. @type {{type: string, text: string}[]} */
  console = [];

  constructor(page, browser) {
    this.page = page;
    this.browser = browser;
  }

  heard(type, text) {
    this.console.push({ type, text });
    if (process.env.VERBOSE) console.log(`  [${this.browser} ${type}] ${text}`);
  }

  /** Errors that nobody expected; what the browser itself says about a refused socket or a missing file is none. */
  get errors() {
    return this.console.filter(({ type, text }) => type === "error" && !/WebSocket|ERR_CONNECTION|can’t establish a connection|connection to wss?:.* was interrupted/.test(text));
  }

  /** @param {string} url */
  async goto(url) {
    await this.page.goto(url, { waitUntil: "load" });
  }

  /** Runs in the page. Both libraries take one argument alike. */
  evaluate(fn, argument) {
    return this.page.evaluate(fn, argument);
  }

  /**
   * Waits until `fn`, run in the page, gives something true that can be written as JSON, and returns it.
   *
   * @param {string} what for the message when it does not
   * @param {(argument: any) => any} fn
   * @param {any} [argument]
   * @param {number} [within] ms
   */
  async until(what, fn, argument, within = WAIT_MS) {
    return until(`${this.browser}: ${what}`, () => this.page.evaluate(fn, argument), within, () => this.seen());
  }

  /** What a person would see now, for messages. */
  async seen() {
    const text = await this.page.evaluate(() => document.body.innerText.replace(/\s+/g, " ").slice(0, 600)).catch(String);
    return `page shows: ${text}\n${this.console.slice(-8).map(({ type, text: said }) => `  console.${type}: ${said}`).join("\n")}`;
  }

  /** @param {string} selector waits until it is there and visible */
  async visible(selector, within = WAIT_MS) {
    return this.until(
      `${selector} visible`,
      (wanted) => {
        const element = document.querySelector(wanted);
        return Boolean(element && element.checkVisibility({ visibilityProperty: true }));
      },
      selector,
      within,
    );
  }

  /** @param {string} selector */
  async click(selector) {
    await this.visible(selector);
    await this.page.click(selector);
  }

  /** @param {string} selector @param {string} text */
  async type(selector, text) {
    await this.visible(selector);
    await this.page.focus(selector);
    await this.page.evaluate((wanted) => document.querySelector(wanted).select?.(), selector);
    await this.page.keyboard.type(text);
  }

  /** @param {string} key such as `Enter`, `m`, `Tab` */
  async press(key) {
    await this.page.keyboard.press(key);
  }

  /** @param {string} selector of an `<input type=file>` @param {string[]} paths */
  async setFiles(selector, paths) {
    if (this.browser === "chromium") {
      await this.page.setInputFiles(selector, paths);
    } else {
      const input = await this.page.$(selector);
      await input.uploadFile(...paths);
    }
  }

  /** @param {string} path */
  async screenshot(path) {
    mkdirSync(path.replace(/[^/]*$/, ""), { recursive: true });
    await this.page.screenshot({ path });
  }

  async close() {
    if (this.browser === "chromium") await this.page.context().close();
    else await this.page.close();
  }
}

/**
 * @template T
 * @param {string} what
 * @param {() => Promise<T> | T} look
 * @param {number} [within] ms
 * @param {() => Promise<string> | string} [explain]
 * @returns {Promise<T>}
 */
export async function until(what, look, within = WAIT_MS, explain = () => "") {
  const end = Date.now() + within;
  let last;
  while (Date.now() < end) {
    try {
      last = await look();
      if (last) return last;
    } catch (error) {
      last = error; // the page may be on its way to the next document
    }
    await pause(LOOK_MS);
  }
  throw new Error(`not within ${within} ms: ${what} (last: ${last instanceof Error ? last.message : JSON.stringify(last)})\n${await explain()}`);
}
