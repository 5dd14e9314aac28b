// Where the processes run: on this host's own addresses, or, on a machine with nothing but lo, in a namespace made
// for the run that has one more interface (several stacks do not gather 127.0.0.1).
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';

// A documentation range (RFC 5737), so that nothing real can be meant.
const ADDRESS = '198.51.100.1';
const GATEWAY = '198.51.100.2';

function onlyLoopback() {
  return !Object.values(networkInterfaces()).flat().some((each) => each.family === 'IPv4' && !each.internal);
}

/** As `enterNetwork`, always a namespace, in which so many percent of all datagrams are lost. */
export function enterLossyNetwork(percent) {
  const network = makeNamespace(`twocan-loss-${process.pid}`);
  if (network.prefix.length === 0) return network;
  try {
    const rules = ['table inet loss {', 'chain input {', 'type filter hook input priority 0', `meta l4proto udp numgen random mod 100 < ${percent} drop`, '}', '}', ''].join('\n');
    execFileSync(network.prefix[0], [...network.prefix.slice(1), 'nft', '-f', '-'], { input: rules, stdio: ['pipe', 'ignore', 'pipe'] });
    return { ...network, describe: `${network.describe} with ${percent} % loss` };
  } catch (error) {
    network.close();
    return { prefix: [], describe: '', close() {}, why: `nft cannot drop datagrams at random: ${String(error.stderr ?? error.message).trim().split('\n')[0]}` };
  }
}

/** How long the relay may take to answer for the first time. */
const RELAY_START_MS = 8_000;

/** As `enterNetwork`, always a namespace, in which coturn runs: `servers` are its URLs with user and password, `env` what TLS needs. */
export function enterRelayNetwork() {
  const network = makeNamespace(`twocan-relay-${process.pid}`);
  if (network.prefix.length === 0) return network;
  const folder = mkdtempSync(join(tmpdir(), 'twocan-relay-'));
  const inside = (...words) => execFileSync(network.prefix[0], [...network.prefix.slice(1), ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  let server;
  const close = () => {
    server?.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
    network.close();
  };
  try {
    const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => join(folder, name));
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=relay', '-addext', `subjectAltName=IP:${ADDRESS}`, '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', key, '-out', certificate], { stdio: ['ignore', 'ignore', 'pipe'] });
    const words = ['turnserver', '-n', '--no-cli', '--no-dtls', '--log-file=stdout', '-L', ADDRESS, '-E', ADDRESS, '-r', 'lab', '-u', 'user:secret', '-a', `--cert=${certificate}`, `--pkey=${key}`, '--min-port=50000', '--max-port=50500', `--pidfile=${join(folder, 'pid')}`];
    server = spawn(network.prefix[0], [...network.prefix.slice(1), ...words], { stdio: 'ignore' });
    server.on('error', () => {});
    const started = Date.now();
    for (;;) {
      try {
        inside('timeout', '0.5', 'turnutils_stunclient', ADDRESS);
        break;
      } catch (error) {
        if (Date.now() - started > RELAY_START_MS) throw error;
        execFileSync('sleep', ['0.2']);
      }
    }
    const url = (scheme, rest) => `${scheme}:user:secret@${ADDRESS}${rest}`;
    const servers = { udp: url('turn', ''), tcp: url('turn', '?transport=tcp'), tls: url('turns', '') };
    return { ...network, describe: `${network.describe} with coturn`, servers, env: [`SSL_CERT_FILE=${certificate}`], close };
  } catch (error) {
    close();
    const why = String(error.stderr ?? '').trim().split('\n')[0] || error.message;
    return { prefix: [], describe: '', close() {}, why: `no coturn: ${why}` };
  }
}

/** `{prefix, loopback, describe, close}`: what to put before a command, and whether only 127.0.0.1 is there. */
export function enterNetwork() {
  if (!onlyLoopback()) return { prefix: [], loopbackOnly: false, describe: "this host's addresses", close() {} };
  return makeNamespace(`twocan-interop-${process.pid}`);
}

function makeNamespace(name) {
  const ip = (...words) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  const remove = () => { try { ip('netns', 'delete', name); } catch { /* never made, or gone */ } };
  try {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'dev', 'lo', 'up');
    // Both ends stay in the namespace: the far one only makes the near one have a carrier.
    ip('-n', name, 'link', 'add', 'dev', 'near', 'type', 'veth', 'peer', 'name', 'far');
    ip('-n', name, 'addr', 'add', `${ADDRESS}/24`, 'dev', 'near');
    ip('-n', name, 'link', 'set', 'dev', 'far', 'up');
    ip('-n', name, 'link', 'set', 'dev', 'near', 'up');
    // Firefox gathers nothing where there is no default route.
    ip('-n', name, 'route', 'add', 'default', 'via', GATEWAY);
    return { prefix: ['ip', 'netns', 'exec', name], loopbackOnly: false, describe: `namespace ${name}, ${ADDRESS}`, close: remove };
  } catch (error) {
    remove();
    const why = String(error.stderr ?? error.message).trim().split('\n').pop();
    return { prefix: [], loopbackOnly: true, describe: `127.0.0.1 only (no namespace: ${why})`, why: `no namespace: ${why}`, close() {} };
  }
}
