import { makeChat, readChat } from "../sdk/chat-messages.js";
import { h, setText } from "./dom.js";
import { sayIn, t } from "./words.js";

/** Gathering goes on this long at most; some networks have servers that never answer. */
const GATHER_WITHIN_MS = 5_000;

/** @type {<T extends HTMLElement>(id: string) => T} */
const by = (id) => /** @type {any} */ (document.getElementById(id));

const begin = /** @type {HTMLButtonElement} */ (by("begin"));
const mine = /** @type {HTMLTextAreaElement} */ (by("mine"));
const theirs = /** @type {HTMLTextAreaElement} */ (by("theirs"));
const copy = /** @type {HTMLButtonElement} */ (by("copy"));
const text = /** @type {HTMLInputElement} */ (by("text"));
const state = by("state");

/** @type {RTCPeerConnection | null} */
let connection = null;
/** @type {RTCDataChannel | null} */
let channel = null;

sayIn(document);

begin.onclick = async () => {
  const peer = connect();
  use(peer.createDataChannel("chat"));
  await peer.setLocalDescription();
  await give(peer);
};

by("use").onclick = async () => {
  /** @type {RTCSessionDescriptionInit} */
  let description;
  try {
    description = JSON.parse(theirs.value.trim());
  } catch {
    say(t("This is not the text of the other side: it starts with { and ends with }"), true);
    return;
  }
  if (typeof description?.sdp !== "string" || (description.type !== "offer" && description.type !== "answer")) {
    say(t("This has no offer and no answer in it"), true);
    return;
  }
  try {
    if (description.type === "offer") {
      const peer = connect();
      await peer.setRemoteDescription(description);
      await peer.setLocalDescription();
      await give(peer);
    } else if (connection) {
      await connection.setRemoteDescription(description);
    } else {
      say(t("This is an answer, but no offer was made here"), true);
    }
  } catch (error) {
    say(t("It could not be used: {why}", { why: /** @type {Error} */ (error).message }), true);
  }
};

copy.onclick = async () => {
  try {
    await navigator.clipboard.writeText(mine.value);
    say(t("Copied"));
  } catch {
    mine.select();
    say(t("Marked: copy it with the keyboard"));
  }
};

/** @type {HTMLFormElement} */ (by("composer")).onsubmit = (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words || channel?.readyState !== "open") return;
  channel.send(JSON.stringify(makeChat(words)));
  show(t("You"), words);
  text.value = "";
};

function connect() {
  connection?.close();
  const peer = new RTCPeerConnection();
  connection = peer;
  peer.ondatachannel = (event) => use(event.channel);
  peer.onconnectionstatechange = () => {
    if (peer === connection) say(t("Connection: {state}", { state: peer.connectionState }), peer.connectionState === "failed");
  };
  return peer;
}

/** @param {RTCDataChannel} opened */
function use(opened) {
  channel = opened;
  const enable = () => {
    text.disabled = /** @type {HTMLButtonElement} */ (by("send")).disabled = opened.readyState !== "open";
    if (opened.readyState === "open") text.focus();
  };
  opened.onopen = opened.onclose = enable;
  opened.onmessage = ({ data }) => {
    const message = typeof data === "string" ? readChat(data) : null;
    if (message) show(t("They"), message.text);
  };
  enable();
}

/**
 * Shows the own description once all candidates are in it.
 *
 * @param {RTCPeerConnection} peer
 */
async function give(peer) {
  say(t("Looking for ways to reach this device…"));
  await new Promise((resolve) => {
    const look = () => peer.iceGatheringState === "complete" && resolve(null);
    peer.onicegatheringstatechange = look;
    setTimeout(resolve, GATHER_WITHIN_MS);
    look();
  });
  if (peer !== connection) return;
  mine.value = JSON.stringify(peer.localDescription);
  copy.disabled = false;
  say(peer.localDescription?.type === "offer" ? t("Give the text to the other side, then paste its answer") : t("Give the answer back"));
}

/**
 * @param {string} words
 * @param {boolean} [isProblem]
 */
function say(words, isProblem = false) {
  setText(state, words);
  state.classList.toggle("problem", isProblem);
}

/**
 * @param {string} who
 * @param {string} words
 */
function show(who, words) {
  by("log").append(h("p", {}, h("strong", {}, `${who}: `), words));
}
