// The file of the open image in the browser's storage, so that a page that is reloaded, or that a phone has ended for its
// memory, comes back with its image.

const NAME = "mobilesam-image";
const TAB = "mobilesam-tab"; // in the session storage: the name of this tab's file
const MOST_TABS = 4;

/** @returns {string} */
function addressOf() {
  let tab = sessionStorage.getItem(TAB);
  if (!tab) sessionStorage.setItem(TAB, (tab = `${Date.now()}-${Math.random().toString(36).slice(2)}`));
  return `/kept/${tab}`;
}

/** Keep a file. Without room for it, a reloaded page starts without an image. @param {File} file */
export async function keepFile(file) {
  try {
    const cache = await caches.open(NAME);
    await cache.put(addressOf(), new Response(file, { headers: { "X-Name": encodeURIComponent(file.name) } }));
    const others = (await cache.keys()).filter(({ url }) => new URL(url).pathname !== addressOf());
    for (const old of others.slice(0, Math.max(0, others.length - MOST_TABS + 1))) await cache.delete(old);
  } catch {
    // Not on insecure pages, or no room.
  }
}

/** Return the file that was kept for this tab, or null. */
export async function keptFile() {
  try {
    const response = await (await caches.open(NAME)).match(addressOf());
    if (!response) return null;
    const blob = await response.blob();
    return new File([blob], decodeURIComponent(response.headers.get("X-Name") ?? "image"), { type: blob.type });
  } catch {
    return null;
  }
}
