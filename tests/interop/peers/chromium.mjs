// Debian's Chromium, driven by playwright-core.
import { browserPeer } from './browser.mjs';
import { load, main } from './process.mjs';

main(async (options) => {
  const { chromium } = load('playwright-core');
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      // Host addresses instead of mDNS names, and 127.0.0.1 among them, so that a machine with nothing but lo works.
      '--disable-features=WebRtcHideLocalIpsWithMdns',
      '--allow-loopback-in-peer-connection',
      '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream',
      '--autoplay-policy=no-user-gesture-required',
      '--disable-background-networking',
      '--disable-component-update',
      // Neither offered nor sent by default.
      ...(options.repair === 'ccfb' ? ['--force-fieldtrials=WebRTC-RFC8888CongestionControlFeedback/Enabled,offer:true/'] : []),
      ...(options.playoutDelay ? ['--force-fieldtrials=WebRTC-ForceSendPlayoutDelay/min_ms:100,max_ms:500/'] : []),
      ...(options.repair === 'flexfec' ? ['--force-fieldtrials=WebRTC-FlexFEC-03/Enabled/WebRTC-FlexFEC-03-Advertised/Enabled/'] : []),
    ],
  });
  return browserPeer(browser, await browser.newPage(), options);
});
