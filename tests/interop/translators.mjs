// Two private networks behind address translators of the kernel, and a server between them, in network namespaces:
//
//   left 10.1.0.2 ── translator 203.0.113.2 ── server 203.0.113.1 ── 203.0.113.3 translator ── 10.2.0.2 right
//
// A side may have IPv6 beside that, 2001:db8:1::2 or 2001:db8:2::2, or nothing else and a NAT64 before its translator.
import { execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { interfaceNames, startLab } from './link.mjs';

/** Of the documentation ranges (RFC 5737), so that nothing real can be meant. */
const MIDDLE = '203.0.113';
/** The same where IPv6 is translated: under the well-known prefix only addresses that may be global are (RFC 6052 §3.1), and this range has no owner since 6to4 was given up (RFC 7526). */
const MIDDLE_BEHIND_NAT64 = '192.88.99';
const SIDES = {
  left: { inside: '10.1.0', insideV6: '2001:db8:1::', place: 2 },
  right: { inside: '10.2.0', insideV6: '2001:db8:2::', place: 3 },
};
const MIDDLE_V6 = '2001:db8:ffff::';
/** What TAYGA gives the one host behind it, before the translator of IPv4 sees it. */
const POOL = '192.168.255';
/** Where everything goes that has no way, and is never heard of again, as on the real internet: nobody has this address. */
const NOWHERE = { place: 254, hardware: '02:00:00:00:00:01' };
const SERVER_START_MS = 8_000;
const TAYGA_START_MS = 5_000;
/** What is not in every system, and in which package of Debian it is. */
const PACKAGES = { ip: 'iproute2', nft: 'nftables', tayga: 'tayga', turnserver: 'coturn', turnutils_stunclient: 'coturn' };

/** What a side has: an IPv4 address behind its translator, an IPv6 address without one beside it, or IPv6 alone and a NAT64 (RFC 6146) before its translator. */
export const FAMILIES = ['v4', 'dual', 'nat64'];

/** What translators do, in the words of RFC 4787, and the rules of nftables that make it so. */
export const TRANSLATORS = {
  'none': 'no translation',
  'full-cone': 'endpoint-independent mapping and filtering',
  'address-restricted': 'endpoint-independent mapping, address-dependent filtering',
  'port-restricted': 'endpoint-independent mapping, address and port-dependent filtering',
  'symmetric': 'address and port-dependent mapping and filtering',
  'udp-blocked': 'TCP alone passes',
};

/** `host` is behind the interface `device`, `outside` the address that others see. */
function rules(kind, { host, device, outside }) {
  const translate = [`table ip translate {`];
  // A packet that nobody asked for must not make an entry in the table of connections: its port would be taken then.
  const unsolicited = ['chain input {', 'type filter hook input priority 0', 'iifname outside meta l4proto udp drop', '}'];
  const chain = (name, ...lines) => translate.push(`chain ${name} {`, ...lines, '}');
  const masquerade = 'oifname outside masquerade';
  const postrouting = 'type nat hook postrouting priority 100';
  const prerouting = 'type nat hook prerouting priority -100';
  switch (kind) {
    case 'none': return '';
    case 'full-cone':
      chain('out', postrouting, masquerade);
      chain('in', prerouting, `iifname outside ip daddr ${outside} meta l4proto udp dnat to ${host}`);
      break;
    case 'address-restricted':
      translate.push('set seen {', 'type ipv4_addr', 'flags dynamic,timeout', 'timeout 60s', '}');
      chain('note', 'type filter hook forward priority 0', `iifname ${device} meta l4proto udp update @seen { ip daddr }`);
      chain('out', postrouting, masquerade);
      chain('in', prerouting, `iifname outside ip daddr ${outside} meta l4proto udp ip saddr @seen dnat to ${host}`);
      translate.push(...unsolicited);
      break;
    case 'port-restricted':
      chain('out', postrouting, masquerade);
      translate.push(...unsolicited);
      break;
    case 'symmetric':
      chain('out', postrouting, `${masquerade} random,fully-random`);
      translate.push(...unsolicited);
      break;
    case 'udp-blocked':
      chain('out', postrouting, masquerade);
      chain('block', 'type filter hook forward priority 0', 'meta l4proto udp drop');
      break;
  }
  return [...translate, '}', ''].join('\n');
}

/** The IPv4 address as hosts behind the NAT64 see it (RFC 6052 §2.1), in brackets as URLs have it. */
export function behindNat64(address) {
  const [a, b, c, d] = address.split('.').map(Number);
  return `64:ff9b::${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

function need(program) {
  const found = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error(`${program} is not installed: apt-get install ${PACKAGES[program]}`);
}

const ip = (...words) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });

export class Translators {
  /**
   * Namespaces for two sides, each `{kind, families}`; throws where they cannot be made. With `lost`, in thousandths, that
   * many packets are lost each way between the left host and its translator, on a link of the program `lab`.
   */
  static async open(sides, { lost = 0, lab = null } = {}) {
    const made = new Translators(sides);
    try {
      await made.start({ lost, lab });
      return made;
    } catch (error) {
      made.close();
      const why = String(error.stderr ?? '').trim().split('\n')[0] || error.message;
      throw new Error(`no translators: ${why}`);
    }
  }

  constructor(sides) {
    this.sides = sides;
    this.name = (part) => `twocan-nat-${process.pid}-${part}`;
    this.children = [];
    this.files = [];
    this.middle = Object.values(sides).some((side) => side.families === 'nat64') ? MIDDLE_BEHIND_NAT64 : MIDDLE;
    this.server = `${this.middle}.1`;
  }

  /** Runs a program in one of the namespaces. */
  inside(part, words, input = '') {
    execFileSync('ip', ['netns', 'exec', this.name(part), ...words], { input, stdio: ['pipe', 'ignore', 'pipe'] });
  }

  add(part, families) {
    ip('netns', 'add', this.name(part));
    ip('-n', this.name(part), 'link', 'set', 'dev', 'lo', 'up');
    const v6 = families === 'v4' ? ['net.ipv6.conf.all.disable_ipv6=1'] : ['net.ipv6.conf.all.forwarding=1', 'net.ipv6.conf.default.accept_dad=0'];
    this.inside(part, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0', ...v6]);
  }

  connect(one, oneName, other, otherName) {
    ip('-n', this.name(one), 'link', 'add', 'dev', oneName, 'type', 'veth', 'peer', 'name', otherName, 'netns', this.name(other));
    ip('-n', this.name(one), 'link', 'set', 'dev', oneName, 'up');
    ip('-n', this.name(other), 'link', 'set', 'dev', otherName, 'up');
  }

  /** As `connect`, over a link that loses packets at random, both ways. */
  async connectLossy(one, oneName, other, otherName, { lost, lab }) {
    if (!lab) throw new Error('there is no twocan-lab: cargo build -p twocan-lab, and --lab');
    const names = interfaceNames();
    const child = await startLab(lab, names, 1);
    this.children.push(child);
    for (const [part, from, to] of [[one, names.left, oneName], [other, names.right, otherName]]) {
      ip('link', 'set', 'dev', from, 'netns', this.name(part));
      ip('-n', this.name(part), 'link', 'set', 'dev', from, 'name', to);
      ip('-n', this.name(part), 'link', 'set', 'dev', to, 'up');
    }
    const loss = { loss_per_mille: lost };
    child.stdin.write(`${JSON.stringify({ right: loss, left: loss })}\n`);
  }

  nowhere(part, device) {
    const address = `${this.middle}.${NOWHERE.place}`;
    ip('-n', this.name(part), 'neigh', 'add', address, 'lladdr', NOWHERE.hardware, 'dev', device, 'nud', 'permanent');
    ip('-n', this.name(part), 'route', 'add', 'default', 'via', address);
  }

  async start(loss) {
    need('ip');
    need('nft');
    const families = Object.values(this.sides).some((side) => side.families !== 'v4') ? 'dual' : 'v4';
    this.add('internet', families);
    ip('-n', this.name('internet'), 'link', 'add', 'dev', 'net', 'type', 'bridge');
    ip('-n', this.name('internet'), 'addr', 'add', `${this.server}/24`, 'dev', 'net');
    ip('-n', this.name('internet'), 'link', 'set', 'dev', 'net', 'up');
    this.nowhere('internet', 'net');
    for (const side of Object.keys(SIDES)) await this.startSide(side, side === 'left' && loss.lost > 0 ? loss : null);
  }

  /** A host, its router, and the way from there to the middle. */
  async startSide(side, loss) {
    const { kind, families } = this.sides[side];
    const { inside, insideV6, place } = SIDES[side];
    const [router, outside] = [`${side}-router`, `${this.middle}.${place}`];
    const far = side === 'left' ? 'right' : 'left';
    this.add(side, families);
    this.add(router, families);
    this.connect('internet', `to-${side}`, router, 'outside');
    if (loss) await this.connectLossy(side, 'host', router, 'inside', loss);
    else this.connect(router, 'inside', side, 'host');
    ip('-n', this.name('internet'), 'link', 'set', 'dev', `to-${side}`, 'master', 'net');
    ip('-n', this.name(router), 'addr', 'add', `${outside}/24`, 'dev', 'outside');
    if (families !== 'v4') {
      ip('-n', this.name(router), 'addr', 'add', `${MIDDLE_V6}${place}/64`, 'dev', 'outside');
      ip('-n', this.name(router), 'addr', 'add', `${insideV6}1/64`, 'dev', 'inside');
      ip('-n', this.name(router), 'route', 'add', `${SIDES[far].insideV6}/64`, 'via', `${MIDDLE_V6}${SIDES[far].place}`);
      ip('-n', this.name(side), 'addr', 'add', `${insideV6}2/64`, 'dev', 'host');
      ip('-n', this.name(side), 'route', 'add', 'default', 'via', `${insideV6}1`);
    }
    if (families !== 'nat64') {
      ip('-n', this.name(router), 'addr', 'add', `${inside}.1/24`, 'dev', 'inside');
      ip('-n', this.name(side), 'addr', 'add', `${inside}.2/24`, 'dev', 'host');
      ip('-n', this.name(side), 'route', 'add', 'default', 'via', `${inside}.1`);
    } else {
      await this.startNat64(router, insideV6);
    }
    // Private networks are not routed, but where there is no translation.
    if (kind === 'none') ip('-n', this.name('internet'), 'route', 'add', `${inside}.0/24`, 'via', outside);
    if (this.sides[far].kind === 'none') ip('-n', this.name(router), 'route', 'add', `${SIDES[far].inside}.0/24`, 'via', `${this.middle}.${SIDES[far].place}`);
    this.nowhere(router, 'outside');
    const behind = families === 'nat64' ? { host: `${POOL}.2`, device: 'nat64' } : { host: `${inside}.2`, device: 'inside' };
    const text = rules(kind, { ...behind, outside });
    if (text) this.inside(router, ['nft', '-f', '-'], text);
  }

  /** TAYGA in a router: each host of IPv6 is one of IPv4, which the translator of the router then translates. */
  async startNat64(router, network) {
    need('tayga');
    const file = join(tmpdir(), `twocan-nat64-${process.pid}.conf`);
    this.files.push(file);
    writeFileSync(file, ['tun-device nat64', `ipv4-addr ${POOL}.1`, `ipv6-addr ${network}ffff`, 'prefix 64:ff9b::/96', `map ${POOL}.2 ${network}2`, ''].join('\n'));
    this.inside(router, ['tayga', '-c', file, '--mktun']);
    ip('-n', this.name(router), 'link', 'set', 'dev', 'nat64', 'up');
    ip('-n', this.name(router), 'route', 'add', `${POOL}.0/24`, 'dev', 'nat64');
    ip('-n', this.name(router), 'route', 'add', '64:ff9b::/96', 'dev', 'nat64');
    const [program, ...words] = [...this.prefix(router), 'tayga', '-n', '-c', file];
    const child = spawn(program, words, { stdio: 'ignore' });
    child.on('error', () => {});
    this.children.push(child);
    const started = Date.now();
    // An interface of TUN has a carrier once a process holds it.
    for (;;) {
      const state = execFileSync('ip', ['-n', this.name(router), '-o', 'link', 'show', 'dev', 'nat64'], { encoding: 'utf8' });
      if (/LOWER_UP/.test(state)) return;
      if (child.exitCode !== null || Date.now() - started > TAYGA_START_MS) throw new Error('tayga does not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  prefix(part) {
    return ['ip', 'netns', 'exec', this.name(part)];
  }

  /** Starts a STUN and TURN server between both: coturn, or the program `ours`. */
  async serve(ours) {
    const server = this.server;
    if (!ours) need('turnserver');
    need('turnutils_stunclient');
    const words = ours
      ? [ours, 'serve', '--http', '127.0.0.1:0', '--stun', `${server}:3478`, '--turn-user', 'user:secret']
      : ['turnserver', '-n', '--no-cli', '--no-dtls', '--no-tls', '--log-file=stdout', '-L', server, '-E', server, '-r', 'lab', '-u', 'user:secret', '-a', '--min-port=50000', '--max-port=50500', `--pidfile=${join(tmpdir(), `twocan-nat-${process.pid}.pid`)}`];
    const [program, ...rest] = [...this.prefix('internet'), ...words];
    const child = spawn(program, rest, { stdio: 'ignore' });
    child.on('error', () => {});
    this.children.push(child);
    const started = Date.now();
    for (;;) {
      try {
        this.inside('internet', ['timeout', '0.5', 'turnutils_stunclient', server]);
        break;
      } catch (error) {
        if (Date.now() - started > SERVER_START_MS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  /** The URLs of that server as one side writes them: as DNS64 (RFC 6147) would, where there is a NAT64. */
  urls(side) {
    const host = this.sides[side].families === 'nat64' ? `[${behindNat64(this.server)}]` : this.server;
    const url = (rest) => `turn:user:secret@${host}${rest}`;
    return { stun: `stun:${host}`, udp: url(''), tcp: url('?transport=tcp') };
  }

  close() {
    for (const child of this.children) child.kill('SIGKILL');
    for (const part of ['left', 'right', 'left-router', 'right-router', 'internet']) {
      try { ip('netns', 'delete', this.name(part)); } catch { /* never made, or gone */ }
    }
    for (const file of this.files) rmSync(file, { force: true });
  }
}
