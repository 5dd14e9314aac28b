// A TCP proxy in front of the server, to cut what passes through it.
import { connect, createServer } from "node:net";

/**
 * @param {string} target such as `http://127.0.0.1:8080`
 * @returns {Promise<{url: string, cut: () => number, aim: (target: string) => void, block: (on: boolean) => void, close: () => void}>}
 */
export async function startProxy(target) {
  let { hostname, port } = new URL(target);
  const sockets = new Set();
  let blocked = false;
  const server = createServer((inner) => {
    if (blocked) return inner.destroy();
    const outer = connect(Number(port), hostname.replace(/[[\]]/g, ""));
    for (const [one, other] of [[inner, outer], [outer, inner]]) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => (sockets.delete(one), other.destroy()));
      one.pipe(other);
    }
    return undefined;
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Cuts every connection, without a word to either side. */
    cut() {
      const count = sockets.size;
      for (const socket of sockets) socket.resetAndDestroy();
      return count;
    },
    /** Where new connections go from now on. */
    aim(target) {
      ({ hostname, port } = new URL(target));
    },
    /** Refuses new connections for as long as it is on. */
    block(on) {
      blocked = on;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
