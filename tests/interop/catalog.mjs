// The peers of the matrix: how each is started, what it can do, and why it might not run here.
import { accessSync, constants, existsSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
export const tools = resolve(process.env.TWOCAN_TOOLS ?? resolve(here, '../../.tools'), 'interop');

const script = (name) => resolve(here, 'peers', name);
const npm = (name) => () => existsSync(resolve(tools, 'node_modules', name, 'package.json')) ? null : `npm package ${name} is not installed: tests/interop/install.sh npm`;
const program = (path, set) => () => {
  try {
    accessSync(path, constants.X_OK);
    return null;
  } catch {
    return `${path} is not installed: tests/interop/install.sh ${set}`;
  }
};
const node = (name) => [process.execPath, script(name)];

const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
const firefox = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
const aiortcPython = resolve(tools, 'py/bin/python');
const pion3 = resolve(tools, 'pion3');
const byHand = resolve(here, '../../target/debug/examples/ortc');

// webrtcbin needs Debian's python3: another Python in PATH does not see its `gi` module.
const DEBIAN_PYTHON = '/usr/bin/python3';
const GST_PROBE = "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import Gst, GstWebRTC; Gst.init(None);"
  + "missing = [n for n in ('webrtcbin', 'nicesrc', 'dtlsdec', 'sctpdec', 'vp8enc', 'vp9enc', 'opusenc') if Gst.ElementFactory.find(n) is None];"
  + "raise SystemExit('no element ' + ', '.join(missing) if missing else 0)";

function gstreamer() {
  try {
    execFileSync(DEBIAN_PYTHON, ['-c', GST_PROBE], { stdio: ['ignore', 'ignore', 'pipe'] });
    return null;
  } catch (error) {
    const why = String(error.stderr ?? error.message).trim().split('\n').pop();
    return `webrtcbin is not there (${why}): tests/interop/install.sh gst`;
  }
}

/**
 * `media`: audio and video both ways. `repair`: what it repairs losses by, with `--repair`. `simulcast`: offers three qualities to an answerer that takes them, and refuses all but the first of an offer. `allocates`: tells which layers it has then. `playoutDelay`: plays as it is told, and what it tells itself, in ms. `tcp`: connects to candidates over TCP. `loopback`: gathers 127.0.0.1, so it runs on a machine with nothing but lo.
 * `answersOnly`: makes no offers, and runs in pairs alone. `mirrors`: sends no media but what it gets, of which two make none.
 * `quick`: in the quick set. `race`: a fault of the peer's own that comes and goes, recognised by what the *peer* says;
 * such a run is done again and counted in the table.
 */
export const PEERS = {
  chromium: { command: node('chromium.mjs'), media: ['vp8', 'vp9', 'av1', 'h264'], repair: ['ulpfec', 'flexfec', 'red', 'ccfb'], loopback: true, simulcast: true, allocates: true, playoutDelay: [100, 500], tcp: true, quick: true, checks: [program(chromium, 'browsers'), npm('playwright-core')] },
  firefox: { command: node('firefox.mjs'), media: ['vp8', 'vp9', 'av1'], repair: ['ulpfec'], loopback: false, simulcast: true, playoutDelay: null, tcp: true, quick: true, checks: [program(firefox, 'browsers'), npm('puppeteer-core')] },
  aiortc: { command: [aiortcPython, script('aiortc_peer.py')], media: ['vp8', 'h264'], loopback: false, quick: true, checks: [program(aiortcPython, 'pypi')] },
  werift: { command: node('werift.mjs'), media: ['vp8'], loopback: false, quick: true, checks: [npm('werift')] },
  ndc: {
    command: node('ndc.mjs'), media: ['vp8'], mirrors: true, loopback: true, quick: true, checks: [npm('node-datachannel')],
    // As offerer, when the answerer's first check and ClientHello are faster than its answer: up to 1 run in 6 on a busy
    // machine, with libwebrtc and with itself too. libdatachannel drops its ICE transport and then asks for it.
    race: /Got a remote candidate without ICE transport/,
  },
  wrtc: { command: node('wrtc.mjs'), media: ['vp8'], loopback: true, tcp: true, quick: true, checks: [npm('@roamhq/wrtc')] },
  pion3: { command: [pion3], media: ['vp8'], loopback: true, quick: false, checks: [program(pion3, 'pion3')] },
  // Ours, without descriptions: for pairs alone (`--pair chromium ortc`).
  ortc: { command: [byHand], media: ['vp8', 'h264'], loopback: true, quick: false, answersOnly: true, mirrors: true, checks: [() => existsSync(byHand) ? null : `${byHand} is not built: cargo build -p twocan --example ortc`] },
  gst: { command: [DEBIAN_PYTHON, script('gst_peer.py')], media: ['vp8', 'vp9'], loopback: false, quick: false, checks: [program('/usr/bin/openssl', 'gst'), gstreamer] },
};

/** Why this peer cannot run here, or null. */
export function notRunnable(name) {
  for (const check of PEERS[name].checks) {
    const reason = check();
    if (reason) return reason;
  }
  return null;
}

/** What the drivers say of a browser that has gone by itself: it says nothing about the other side. */
const GONE = /Target page, context or browser has been closed|Target closed|browser has disconnected/;

/** Whether a run failed by a race that is the peer's own, so that it says nothing about the other side. */
export function peersOwnRace(row, run) {
  if (!run.ok && GONE.test(run.why ?? '')) return true;
  return [['offerer', 'offer'], ['answerer', 'answer']].some(([side, key]) => {
    const race = PEERS[row[side]]?.race;
    return !run.ok && race !== undefined && race.test(run[key]?.err ?? '');
  });
}
