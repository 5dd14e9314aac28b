// A reverse proxy as the operator's guide asks for one: HTTPS outside, HTTP inside, `Host` as it came, WebSockets passed
// on, and the client's address appended to X-Forwarded-For.
import { request } from "node:http";
import { get } from "node:https";

/**
 * @param {number} port of the server inside, on this machine
 * @param {import("node:https").Server} server not listening yet
 * @param {string} client the address that clients are said to have
 */
export async function startReverseProxy(port, server, client) {
  const sockets = new Set();
  const inward = ({ method, url, headers }) => {
    const before = headers["x-forwarded-for"];
    const forwarded = { "x-forwarded-for": before ? `${before}, ${client}` : client, "x-forwarded-proto": "https" };
    return request({ host: "127.0.0.1", port, method, path: url, headers: { ...headers, ...forwarded } });
  };
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("request", (incoming, outgoing) => {
    const inner = inward(incoming);
    inner.on("response", (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    inner.on("error", () => outgoing.destroy());
    incoming.pipe(inner);
  });
  server.on("upgrade", (incoming, outer, early) => {
    const inner = inward(incoming);
    inner.on("upgrade", ({ statusCode, statusMessage, rawHeaders }, socket, first) => {
      const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
      for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
      outer.write(`${lines.join("\r\n")}\r\n\r\n`);
      if (first.length) outer.write(first);
      if (early.length) socket.write(early);
      for (const [one, other] of [[outer, socket], [socket, outer]]) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
        one.pipe(other);
      }
    });
    inner.on("response", ({ statusCode, statusMessage }) => outer.end(`HTTP/1.1 ${statusCode} ${statusMessage}\r\nconnection: close\r\n\r\n`));
    inner.on("error", () => outer.destroy());
    inner.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const outside = server.address().port;
  return {
    port: outside,
    /** Status of a path, as a client outside sees it. @param {string} path @param {Record<string, string>} headers */
    status: (path, headers) =>
      new Promise((done, fail) => {
        get({ host: "127.0.0.1", port: outside, path, headers, rejectUnauthorized: false }, (response) => (response.resume(), done(response.statusCode))).on("error", fail);
      }),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
