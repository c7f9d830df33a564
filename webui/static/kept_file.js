// The file of the open image in the browser's storage, so that a page that is reloaded, or that a phone has ended for its
// memory, comes back with its image. Each tab has one file, for at most a day.

import { keep, kept } from "./session_storage.js";

const NAME = "mobilesam image";
const TAB = "mobilesam-tab"; // in the session storage: the name of this tab's file
const MOST_TABS = 4;
const LONGEST = 24 * 3600 * 1000; // milliseconds

/** @type {Promise<string> | null} */
let claimed = null;

/** Return the name of this tab's file. A duplicated tab has the same name at first, and gets another one. */
async function tab() {
  const name = kept(TAB) ?? newName();
  const isOurs = await new Promise((resolve) => {
    if (!navigator.locks) resolve(true);
    navigator.locks?.request(`${NAME} ${name}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {}); // until the tab is closed
    }).catch(() => resolve(true));
  });
  const own = isOurs ? name : newName();
  keep(TAB, own);
  return own;
}

function newName() {
  return `${Date.now()}-${Math.random().toString(36).slice(2)}`;
}

/** @param {string} base the address of the folder */
async function addressOf(base) {
  claimed ??= tab();
  return new URL(`kept-image/${await claimed}`, base).href;
}

/** Keep a file. Without room for it, a reloaded page starts without an image. @param {string} base the address of the folder @param {File} file */
export async function keepFile(base, file) {
  try {
    const [cache, address] = [await caches.open(NAME), await addressOf(base)];
    await cache.put(address, new Response(file, { headers: { "X-Name": encodeURIComponent(file.name), "X-Time": String(Date.now()) } }));
    const others = (await cache.keys()).filter(({ url }) => url !== address);
    for (const old of others.slice(0, Math.max(0, others.length - MOST_TABS + 1))) await cache.delete(old);
  } catch {
    // Not on insecure pages, or no room.
  }
}

/** Return the file that was kept for this tab, or null, and remove those of earlier days. @param {string} base the address of the folder */
export async function keptFile(base) {
  try {
    const cache = await caches.open(NAME);
    const before = kept(TAB);
    const address = await addressOf(base);
    for (const request of await cache.keys()) {
      const time = Number((await cache.match(request))?.headers.get("X-Time"));
      if (!(Date.now() - time < LONGEST)) await cache.delete(request);
    }
    const response = before ? await cache.match(new URL(`kept-image/${before}`, base).href) : null;
    if (!response) return null;
    await cache.put(address, response.clone()); // under the new name of a duplicated tab
    const blob = await response.blob();
    return new File([blob], decodeURIComponent(response.headers.get("X-Name") ?? "image"), { type: blob.type });
  } catch {
    return null;
  }
}
