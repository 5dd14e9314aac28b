// Writes one file to the origin's private file system. Synchronous access handles exist in workers only; they write in
// place, without the copy that `createWritable` makes, and Safari has had nothing else for years.

/** @type {any} */
let handle = null;
let at = 0;

self.onmessage = async ({ data }) => {
  try {
    switch (data.do) {
      case "open": {
        const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle(data.folder, { create: true });
        const file = await folder.getFileHandle(data.name, { create: true });
        handle = await /** @type {any} */ (file).createSyncAccessHandle();
        break;
      }
      case "write":
        at += handle.write(data.bytes, { at });
        break;
      case "close":
        handle.flush();
        handle.close();
        break;
    }
    self.postMessage({});
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    self.postMessage({ error: { name, message } });
  }
};
