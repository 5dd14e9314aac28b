// How the browsers are started, as Debian has them.
import { load } from './process.mjs';

/** Chromium, driven by playwright-core. `options` as on the command line of a peer. */
async function chromium(options) {
  return load('playwright-core').chromium.launch({
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
}

/** Firefox ESR, driven by puppeteer-core over WebDriver BiDi. */
async function firefox() {
  const puppeteer = load('puppeteer-core');
  return (puppeteer.default ?? puppeteer).launch({
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
}

export const launch = { chromium, firefox };
