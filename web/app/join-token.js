/**
 * Links to a room, with a join token in them where a key is at hand (`docs/tokens.md`). The key stays in the page.
 *
 * @typedef {"join" | "moderate" | "watch" | "publish"} Purpose
 */

/** @type {Record<Purpose, Record<string, boolean>>} */
const GRANTS = {
  join: {},
  moderate: { roomAdmin: true },
  watch: { canPublish: false, canPublishData: false },
  publish: { canSubscribe: false },
};

/**
 * @param {string} key as `--token-key` takes it: `ID:HS256:SECRET`
 * @returns {{id: string, secret: string}}
 * @throws {RangeError} where it is none, in words for people
 */
export function readKey(key) {
  const [id = "", algorithm = "", ...rest] = key.trim().split(":");
  const secret = rest.join(":");
  if (!id || !secret) throw new RangeError("A key is ID:HS256:SECRET, as the server is given it by --token-key.");
  if (algorithm !== "HS256") throw new RangeError("Only keys of HS256 sign here. For others there is “twocan token create”.");
  if (new TextEncoder().encode(secret).length < 32) throw new RangeError("The secret of a key has 32 bytes at least.");
  return { id, secret };
}

/**
 * @param {{room: string, purpose: Purpose, name: string, seconds: number, key: string, now?: number}} wanted `now` in seconds since 1970
 * @returns {Promise<string>} a JSON Web Token
 */
export async function joinToken({ room, purpose, name, seconds, key, now = Math.floor(Date.now() / 1000) }) {
  const { id, secret } = readKey(key);
  const header = { alg: "HS256", typ: "JWT", kid: id };
  const claims = {
    iat: now,
    exp: now + seconds,
    jti: base64url(crypto.getRandomValues(new Uint8Array(12))),
    ...(name ? { name } : {}),
    video: { room, roomJoin: true, ...GRANTS[purpose] },
  };
  const signed = [header, claims].map((part) => base64url(new TextEncoder().encode(JSON.stringify(part)))).join(".");
  const hmac = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/**
 * @param {string} room
 * @param {Purpose} purpose
 * @param {string} token empty for none
 * @param {string} base
 */
export function roomLink(room, purpose, token, base) {
  const name = encodeURIComponent(room);
  const path = { join: `/${name}`, moderate: `/${name}`, watch: `/watch/${name}`, publish: `/publish/${name}` }[purpose];
  const url = new URL(path, base);
  if (token && (purpose === "watch" || purpose === "publish")) url.hash = `token=${token}`;
  else if (token) url.searchParams.set("access_token", token);
  return url.href;
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
