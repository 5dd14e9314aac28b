import { roomNameOf } from "./room-names.js";

/**
 * The room of an address such as `/watch/blue-otter#token=…`, and the token. Browsers send what stands behind the `#` to
 * nobody.
 *
 * @param {{pathname: string, hash: string}} location
 * @returns {{room: string, token: string}}
 */
export function roomAndToken({ pathname, hash }) {
  const token = new URLSearchParams(hash.slice(1)).get("token") ?? "";
  const last = pathname.split("/").filter(Boolean).slice(1).pop() ?? "";
  try {
    return { room: decodeURIComponent(last), token };
  } catch {
    return { room: roomNameOf(last), token }; // a broken percent escape
  }
}
