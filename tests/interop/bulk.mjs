// A TCP transfer without an end, beside a call.
//
//   node bulk.mjs receive HOST         prints the port that it listens on
//   node bulk.mjs send HOST PORT
import { connect, createServer } from 'node:net';

const CHUNK = Buffer.alloc(64 * 1024);
const [role, host, port] = process.argv.slice(2);

if (role === 'receive') {
  const server = createServer((socket) => socket.resume().on('error', () => {}));
  server.listen(0, host, () => console.log(server.address().port));
} else if (role === 'send') {
  const socket = connect(Number(port), host);
  const fill = () => { while (socket.write(CHUNK)); };
  socket.on('connect', fill).on('drain', fill);
} else {
  console.error('usage: bulk.mjs receive HOST | send HOST PORT');
  process.exit(2);
}
