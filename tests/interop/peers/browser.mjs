// What the browser peers share: a page on 127.0.0.1 (a secure context, so it has cameras) and calls into it.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const FILES = new Set(['/page.mjs', '/w3c.mjs', '/call-page.mjs', '/call.mjs']);

async function servePage(script) {
  const server = createServer(async (request, response) => {
    if (request.url === '/') {
      response.setHeader('content-type', 'text/html');
      response.end(`<!doctype html><meta charset="utf-8"><title>interop</title><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`);
    } else if (FILES.has(request.url)) {
      response.setHeader('content-type', 'text/javascript');
      response.end(await readFile(resolve(here, `.${request.url}`)));
    } else {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** Opens the page of a script; playwright and puppeteer are alike in all that is used here. Gives what ends its server. */
export async function openPage(page, script) {
  const server = await servePage(script);
  page.on('pageerror', (error) => console.error(`page: ${error.message}`));
  page.on('console', (entry) => console.error(`page: ${entry.text()}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => window.interop !== undefined);
  return () => server.close();
}

/** A peer whose work is done by the page. */
export async function browserPeer(browser, page, options) {
  const closeServer = await openPage(page, 'page.mjs');
  await page.evaluate((options) => window.interop.make(options), options);
  return {
    offer: () => page.evaluate(() => window.interop.offer()),
    answer: (remote) => page.evaluate((remote) => window.interop.answer(remote), remote),
    accept: (remote) => page.evaluate((remote) => window.interop.accept(remote), remote),
    run: () => page.evaluate(() => window.interop.run()),
    async close() {
      await browser.close();
      closeServer();
    },
  };
}
