import { remembered } from "./preferences.js";

/**
 * Single keys, unless someone writes, a dialog is open, or they were switched off (WCAG 2.1.4).
 *
 * @param {Record<string, () => void>} actions by lower-case key
 * @param {AbortSignal} signal
 */
export function listenToKeys(actions, signal) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
      if (document.querySelector("dialog[open]")) return;
      const isEscape = event.key === "Escape";
      // The browser closes it; Firefox does not once the key was taken.
      if (isEscape && document.querySelector(":popover-open")) return;
      const target = event.composedPath()[0];
      const isWriting = target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]");
      if (!isEscape && (isWriting || !remembered().shortcuts)) return;
      const action = actions[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      action();
    },
    { signal },
  );
}
