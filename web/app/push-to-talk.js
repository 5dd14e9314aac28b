import { remembered } from "./preferences.js";

/** Where Space means something else for who came there by the keyboard. */
const OWN_SPACE = "button, a, summary, video, audio, [tabindex], [role=button]";
const WRITING = "input, textarea, select, [contenteditable]";

/**
 * Space, held: the microphone is on as long as it is. A button that was clicked keeps the focus, and Space is not for it
 * then; for who came to it by Tab it is.
 *
 * @param {{isMuted: () => boolean, speak: (on: boolean) => void}} microphone
 * @param {AbortSignal} signal
 */
export function listenToSpace({ isMuted, speak }, signal) {
  let isHeld = false;
  let byPointer = false;
  const release = () => {
    if (!isHeld) return;
    isHeld = false;
    speak(false);
  };
  document.addEventListener("pointerdown", () => (byPointer = true), { signal, capture: true });
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Tab") byPointer = false;
      if (event.key !== " ") return;
      if (isHeld) {
        event.preventDefault(); // as long as it is held, it comes again and again
        return;
      }
      if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.isComposing) return;
      if (!remembered().pushToTalk || document.querySelector("dialog[open]") || !isMuted()) return;
      const target = event.composedPath()[0];
      if (target instanceof Element && (target.closest(WRITING) || (!byPointer && target.closest(OWN_SPACE)))) return;
      event.preventDefault();
      isHeld = true;
      speak(true);
    },
    { signal },
  );
  document.addEventListener(
    "keyup",
    (event) => {
      if (event.key !== " " || !isHeld) return;
      event.preventDefault(); // Firefox presses the button that has the focus
      release();
    },
    { signal },
  );
  // The key may be let go of where the page does not see it.
  globalThis.addEventListener("blur", release, { signal });
  document.addEventListener("visibilitychange", release, { signal });
  signal.addEventListener("abort", release);
}
