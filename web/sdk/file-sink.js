import { randomId } from "./random-id.js";

/**
 * Where a received file goes, piece by piece.
 *
 * @typedef {object} FileSink
 * @property {(bytes: Uint8Array<ArrayBuffer>) => Promise<void>} write takes the buffer over; writes happen in the order of the calls
 * @property {() => Promise<void>} close everything is stored
 * @property {() => Promise<void>} discard gives up and leaves nothing behind, where that is possible
 * @property {() => Promise<File | null>} file what was stored, when the page must still hand it to the person
 */

/** Folder in the origin's private file system; each file in it is named after the time it was begun. */
const FOLDER = "received";
/** What another tab may still be writing is younger than this. */
const STALE_MS = 24 * 60 * 60 * 1000;

/** Whether this browser lets the person choose where the file goes. */
export function canPickPlace() {
  return "showSaveFilePicker" in globalThis;
}

/**
 * Asks the person for a place and writes straight to it. Needs a click or a key press.
 *
 * @param {string} name
 * @returns {Promise<FileSink>} rejects with `AbortError` when the person changes their mind
 */
export async function pickedSink(name) {
  const handle = await /** @type {any} */ (globalThis).showSaveFilePicker({ suggestedName: name });
  const writable = await handle.createWritable();
  return {
    write: (bytes) => writable.write(bytes),
    close: () => writable.close(),
    discard: async () => {
      // What was closed is the person's own file now.
      await writable.abort().catch(() => {});
    },
    file: async () => null,
  };
}

/**
 * Writes to the origin's private file system from a worker, the way that every current browser has.
 *
 * @returns {Promise<FileSink>}
 */
export async function privateSink() {
  const name = `${Date.now()}-${randomId()}`;
  const worker = new Worker(new URL("./file-sink-worker.js", import.meta.url), { type: "module" });
  /** @type {{resolve: () => void, reject: (error: Error) => void}[]} */
  const waiting = [];
  worker.onmessage = ({ data }) => {
    const next = waiting.shift();
    if (!data.error) next?.resolve();
    else next?.reject(new DOMException(data.error.message, data.error.name));
  };
  worker.onerror = () => waiting.splice(0).forEach(({ reject }) => reject(new Error("the worker failed")));
  const ask = (/** @type {object} */ request, /** @type {Transferable[]} */ transfer = []) =>
    new Promise((/** @type {(value: void) => void} */ resolve, reject) => {
      waiting.push({ resolve, reject });
      worker.postMessage(request, transfer);
    });

  let isOpen = true;
  const end = async () => {
    if (!isOpen) return;
    isOpen = false;
    await ask({ do: "close" });
    worker.terminate();
  };
  await ask({ do: "open", folder: FOLDER, name });
  return {
    write: (bytes) => ask({ do: "write", bytes }, [bytes.buffer]),
    close: end,
    discard: async () => {
      await end();
      await (await folder()).removeEntry(name).catch(() => {}); // it may be gone already
    },
    file: async () => (await (await folder()).getFileHandle(name)).getFile(),
  };
}

/** Removes what earlier visits left in the private file system. */
export async function sweepPrivateFiles() {
  if (!navigator.storage?.getDirectory) return;
  const directory = await folder();
  for await (const name of /** @type {any} */ (directory).keys()) {
    if (Date.now() - Number.parseInt(name, 10) > STALE_MS) await directory.removeEntry(name).catch(() => {});
  }
}

async function folder() {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}
