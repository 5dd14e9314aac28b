// Debian's Firefox ESR, driven by puppeteer-core over WebDriver BiDi.
import { browserPeer } from './browser.mjs';
import { load, main } from './process.mjs';

main(async (options) => {
  const puppeteer = load('puppeteer-core');
  const browser = await (puppeteer.default ?? puppeteer).launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    extraPrefsFirefox: {
      'media.peerconnection.ice.obfuscate_host_addresses': false,
      'media.peerconnection.ice.loopback': true,
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.autoplay.default': 0,
      'app.update.enabled': false,
      'network.connectivity-service.enabled': false,
      // Firefox fetches its H264 codec from the network at start; nothing here may.
      'media.gmp-manager.updateEnabled': false,
    },
  });
  return browserPeer(browser, await browser.newPage(), options);
});
