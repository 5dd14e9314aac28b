import { t } from "./words.js";

/** @typedef {import("./local-devices.js").Kind} Kind */

/** What a button does. @param {Kind} kind @param {boolean} on whether it is on now */
export function turning(kind, on) {
  if (kind === "camera") return on ? t("Turn off camera") : t("Turn on camera");
  return on ? t("Turn off microphone") : t("Turn on microphone");
}

/** What was done. @param {Kind} kind @param {boolean} on */
export function turned(kind, on) {
  if (kind === "camera") return on ? t("Camera on") : t("Camera off");
  return on ? t("Microphone on") : t("Microphone off");
}

/** By itself. @param {Kind} kind @returns {import("./problems.js").Problem} */
export function stopped(kind) {
  return { title: kind === "camera" ? t("The camera stopped") : t("The microphone stopped"), advice: t("It was unplugged, or taken by another program.") };
}

/** One without a name. @param {Kind | "speaker"} kind @param {number} place from 1 */
export function nameless(kind, place) {
  return { camera: t("Camera {place}", { place }), microphone: t("Microphone {place}", { place }), speaker: t("Speaker {place}", { place }) }[kind];
}

/** In a list without any. @param {Kind | "speaker"} kind */
export function noneYet(kind) {
  return { camera: t("No camera yet"), microphone: t("No microphone yet"), speaker: t("No speaker yet") }[kind];
}
