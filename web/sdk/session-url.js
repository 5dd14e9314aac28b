/**
 * The WebSocket address of a room, from the address that a person would open.
 *
 * `https://host/blue-otter` becomes `wss://host/webrtc/blue-otter`; an address that already names `/webrtc/` or
 * `/socket/` keeps its path.
 *
 * @param {string | URL} address
 * @param {{token?: string, base?: string}} [options] `token` is sent as `access_token`
 * @returns {URL}
 */
export function sessionUrl(address, { token, base = globalThis.location?.href } = {}) {
  const url = new URL(address, base);
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  const path = url.pathname.replace(/\/+$/, "");
  if (!/\/(webrtc|socket)\/[^/]+$/.test(path)) {
    url.pathname = `/webrtc/${path.split("/").pop()}`;
  } else {
    url.pathname = path;
  }
  url.hash = "";
  if (token) url.searchParams.set("access_token", token);
  return url;
}
