// Two private networks behind address translators of the kernel, and a server between them, in network namespaces:
//
//   left 10.1.0.2 ── translator 203.0.113.2 ── server 203.0.113.1 ── 203.0.113.3 translator ── 10.2.0.2 right
import { execFileSync, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Of the documentation ranges (RFC 5737), so that nothing real can be meant. */
const SERVER = '203.0.113.1';
const SIDES = {
  left: { inside: '10.1.0', outside: '203.0.113.2' },
  right: { inside: '10.2.0', outside: '203.0.113.3' },
};
/** Where everything goes that has no way, and is never heard of again, as on the real internet: nobody has this address. */
const NOWHERE = { address: '203.0.113.254', hardware: '02:00:00:00:00:01' };
const SERVER_START_MS = 8_000;

/** What translators do, in the words of RFC 4787, and the rules of nftables that make it so. */
export const TRANSLATORS = {
  'none': 'no translation',
  'full-cone': 'endpoint-independent mapping and filtering',
  'address-restricted': 'endpoint-independent mapping, address-dependent filtering',
  'port-restricted': 'endpoint-independent mapping, address and port-dependent filtering',
  'symmetric': 'address and port-dependent mapping and filtering',
  'udp-blocked': 'TCP alone passes',
};

function rules(kind, { inside, outside }) {
  const host = `${inside}.2`;
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
      chain('note', 'type filter hook forward priority 0', 'iifname inside meta l4proto udp update @seen { ip daddr }');
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

export class Translators {
  /** Namespaces with a translator of such a kind at each side; throws where they cannot be made. */
  static open(left, right) {
    const made = new Translators();
    try {
      made.start({ left, right });
      return made;
    } catch (error) {
      made.close();
      const why = String(error.stderr ?? '').trim().split('\n')[0] || error.message;
      throw new Error(`no translators: ${why}`);
    }
  }

  constructor() {
    this.name = (part) => `twocan-nat-${process.pid}-${part}`;
    this.children = [];
  }

  start(kinds) {
    const ip = (...words) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
    const inside = (part, ...words) => execFileSync('ip', ['netns', 'exec', this.name(part), ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
    const add = (part) => {
      ip('netns', 'add', this.name(part));
      ip('-n', this.name(part), 'link', 'set', 'dev', 'lo', 'up');
      inside(part, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0', 'net.ipv6.conf.all.disable_ipv6=1');
    };
    const connect = (one, oneName, other, otherName) => {
      ip('-n', this.name(one), 'link', 'add', 'dev', oneName, 'type', 'veth', 'peer', 'name', otherName, 'netns', this.name(other));
      ip('-n', this.name(one), 'link', 'set', 'dev', oneName, 'up');
      ip('-n', this.name(other), 'link', 'set', 'dev', otherName, 'up');
    };
    const nowhere = (part, device) => {
      ip('-n', this.name(part), 'neigh', 'add', NOWHERE.address, 'lladdr', NOWHERE.hardware, 'dev', device, 'nud', 'permanent');
      ip('-n', this.name(part), 'route', 'add', 'default', 'via', NOWHERE.address);
    };
    add('internet');
    ip('-n', this.name('internet'), 'link', 'add', 'dev', 'net', 'type', 'bridge');
    ip('-n', this.name('internet'), 'addr', 'add', `${SERVER}/24`, 'dev', 'net');
    ip('-n', this.name('internet'), 'link', 'set', 'dev', 'net', 'up');
    nowhere('internet', 'net');
    for (const [side, { inside: network, outside }] of Object.entries(SIDES)) {
      const router = `${side}-router`;
      add(side);
      add(router);
      connect('internet', `to-${side}`, router, 'outside');
      connect(router, 'inside', side, 'host');
      ip('-n', this.name('internet'), 'link', 'set', 'dev', `to-${side}`, 'master', 'net');
      ip('-n', this.name(router), 'addr', 'add', `${outside}/24`, 'dev', 'outside');
      ip('-n', this.name(router), 'addr', 'add', `${network}.1/24`, 'dev', 'inside');
      ip('-n', this.name(side), 'addr', 'add', `${network}.2/24`, 'dev', 'host');
      ip('-n', this.name(side), 'route', 'add', 'default', 'via', `${network}.1`);
      // Private networks are not routed, but where there is no translation.
      if (kinds[side] === 'none') ip('-n', this.name('internet'), 'route', 'add', `${network}.0/24`, 'via', outside);
      const other = side === 'left' ? 'right' : 'left';
      if (kinds[other] === 'none') ip('-n', this.name(router), 'route', 'add', `${SIDES[other].inside}.0/24`, 'via', SIDES[other].outside);
      nowhere(router, 'outside');
      const text = rules(kinds[side], SIDES[side]);
      if (text) execFileSync('ip', ['netns', 'exec', this.name(router), 'nft', '-f', '-'], { input: text, stdio: ['pipe', 'ignore', 'pipe'] });
    }
  }

  prefix(part) {
    return ['ip', 'netns', 'exec', this.name(part)];
  }

  /** Starts a STUN and TURN server between both and gives its URLs: coturn, or the program `ours`. */
  async serve(ours) {
    const words = ours
      ? [ours, 'serve', '--http', '127.0.0.1:0', '--stun', `${SERVER}:3478`, '--turn-user', 'user:secret']
      : ['turnserver', '-n', '--no-cli', '--no-dtls', '--no-tls', '--log-file=stdout', '-L', SERVER, '-E', SERVER, '-r', 'lab', '-u', 'user:secret', '-a', '--min-port=50000', '--max-port=50500', `--pidfile=${join(tmpdir(), `twocan-nat-${process.pid}.pid`)}`];
    const [program, ...rest] = [...this.prefix('internet'), ...words];
    const child = spawn(program, rest, { stdio: 'ignore' });
    child.on('error', () => {});
    this.children.push(child);
    const started = Date.now();
    for (;;) {
      try {
        execFileSync('ip', [...this.prefix('internet').slice(1), 'timeout', '0.5', 'turnutils_stunclient', SERVER], { stdio: ['ignore', 'ignore', 'pipe'] });
        break;
      } catch (error) {
        if (Date.now() - started > SERVER_START_MS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
    const url = (rest) => `turn:user:secret@${SERVER}${rest}`;
    return { stun: `stun:${SERVER}`, udp: url(''), tcp: url('?transport=tcp') };
  }

  close() {
    for (const child of this.children) child.kill('SIGKILL');
    for (const part of ['left', 'right', 'left-router', 'right-router', 'internet']) {
      try { execFileSync('ip', ['netns', 'delete', this.name(part)], { stdio: 'ignore' }); } catch { /* never made, or gone */ }
    }
  }
}
