// Debian's Chromium as one peer process.
import { browserPeer } from './browser.mjs';
import { launch } from './launch.mjs';
import { main } from './process.mjs';

main(async (options) => {
  const browser = await launch.chromium(options);
  return browserPeer(browser, await browser.newPage(), options);
});
