/**
 * What WHIP and WHEP say between an offer and the end: candidates and ICE restarts as fragments of a description
 * (RFC 8840 §9, RFC 9725 §4.3), and servers for ICE as links (RFC 9725 §4.6).
 */

/** @param {string} sdp @param {string} name of an attribute; the first counts, since all sections share one transport */
function attribute(sdp, name) {
  return new RegExp(`^a=${name}:(.*)$`, "m").exec(sdp)?.[1].trim() ?? "";
}

/** The username fragment of a description or fragment; empty where there is none. @param {string} sdp */
export function usernameFragment(sdp) {
  return attribute(sdp, "ice-ufrag");
}

/**
 * Candidates of the present generation, or, without any, the credentials of a new one.
 *
 * @param {string} sdp the local description
 * @param {{candidate: string, sdpMid: string | null}[]} [candidates]
 * @param {boolean} [ends] whether there are no further ones
 */
export function fragmentOf(sdp, candidates = [], ends = false) {
  const section = /^m=(\w+) \d+ (\S+) (\d+)/m.exec(sdp);
  const lines = [`a=ice-ufrag:${usernameFragment(sdp)}`, `a=ice-pwd:${attribute(sdp, "ice-pwd")}`];
  const mid = candidates[0]?.sdpMid ?? attribute(sdp, "mid");
  if (section) lines.push(`m=${section[1]} 9 ${section[2]} ${section[3]}`, `a=mid:${mid}`);
  for (const { candidate } of candidates) lines.push(`a=${candidate}`);
  if (ends) lines.push("a=end-of-candidates");
  return `${lines.join("\r\n")}\r\n`;
}

/**
 * The answer as it is after an ICE restart: with the credentials and candidates of the fragment in place of its own.
 *
 * @param {string} sdp the remote description of before
 * @param {string} fragment the server's
 */
export function restarted(sdp, fragment) {
  const candidates = fragment.split(/\r?\n/).filter((line) => /^a=(candidate:|end-of-candidates)/.test(line));
  const [session, first, ...others] = sdp
    .split(/\r?\n/)
    .filter((line) => line !== "" && !/^a=(candidate:|end-of-candidates)/.test(line))
    .map((line) => line.replace(/^a=ice-ufrag:.*/, `a=ice-ufrag:${usernameFragment(fragment)}`).replace(/^a=ice-pwd:.*/, `a=ice-pwd:${attribute(fragment, "ice-pwd")}`))
    .join("\r\n")
    .split(/(?=^m=)/m);
  return [session, [first?.trimEnd(), ...candidates, ""].join("\r\n"), ...others].join("").trimEnd() + "\r\n";
}

/**
 * The links of a `Link` header (RFC 8288 §3).
 *
 * @param {string | null} link
 * @returns {{url: string, parameters: Map<string, string>}[]}
 */
function links(link) {
  const all = (link ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^",;\s]+))*)/g);
  return [...all].map(([, url, rest]) => ({
    url,
    parameters: new Map([...rest.matchAll(/;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))/g)].map(([, name, quoted, bare]) => [name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? bare])),
  }));
}

/**
 * The protocol extensions that a `Link` header names, by `rel` (RFC 9725 §4.8).
 *
 * @param {string | null} link
 * @param {string} base what their addresses are relative to
 * @returns {Map<string, string>}
 */
export function linkedExtensions(link, base) {
  const known = links(link).map(({ url, parameters }) => /** @type {const} */ ([parameters.get("rel") ?? "", url]));
  return new Map(known.filter(([rel, url]) => /^urn:ietf:params:wh[ei]p:ext:/.test(rel) && URL.canParse(url, base)).map(([rel, url]) => [rel, new URL(url, base).href]));
}

/**
 * The servers for ICE that a `Link` header names.
 *
 * @param {string | null} link
 * @returns {RTCIceServer[]}
 */
export function linkedServers(link) {
  /** @type {RTCIceServer[]} */
  const servers = [];
  for (const { url, parameters } of links(link)) {
    if (parameters.get("rel") !== "ice-server" || !/^(stun|turn)s?:/.test(url)) continue;
    const username = parameters.get("username");
    const credential = parameters.get("credential");
    servers.push({ urls: [url], ...(username !== undefined && credential !== undefined ? { username, credential } : {}) });
  }
  return servers;
}
