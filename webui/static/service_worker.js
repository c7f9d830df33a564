// The service worker of a folder of `mobilesam site`. Its pages and scripts come from the network, and without one from
// the cache. Its responses have the headers that isolate a page, so that the model can use several threads. The files
// of the model are left to model/store.js.

/**
 * The part of a service worker that is used.
 * @typedef {object} Scope
 * @property {ServiceWorkerRegistration} registration
 * @property {() => Promise<void>} skipWaiting
 * @property {{ claim(): Promise<void>, matchAll(): Promise<{ url: string }[]> }} clients
 * @property {(name: string, listener: (event: any) => void) => void} addEventListener
 *
 * @typedef {{ request: Request, respondWith(response: Promise<Response>): void, waitUntil(work: Promise<unknown>): void }} FetchEvent
 */

const worker = /** @type {Scope} */ (/** @type {unknown} */ (self));
const base = worker.registration.scope;
const manifestAddress = `${base}manifest.json`;
const cacheName = `mobilesam pages ${base}`;
const isolating = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (/** @type {FetchEvent} */ event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(base) && !isOfModel(url)) event.respondWith(respond(event));
});

/** @param {string} url */
function isOfModel(url) {
  return url.startsWith(`${base}weights/`) || url.endsWith(".wasm");
}

/** @param {FetchEvent} event */
async function respond(event) {
  const address = withoutSearch(event.request.url);
  try {
    const response = await fetch(event.request, { cache: "no-cache" });
    if (response.status === 200) event.waitUntil((address === manifestAddress ? update : keep)(address, response.clone()));
    return isolated(response);
  } catch (error) {
    const cache = await caches.open(cacheName);
    const kept = (await cache.match(address)) ?? (await cache.match(`${address}index.html`));
    if (kept) return isolated(kept);
    throw error;
  }
}

/** @param {string} url */
function withoutSearch(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** @param {Response} response */
function isolated(response) {
  if (response.status === 0) return response; // a redirect, which the browser follows
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(isolating)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** @param {string} address @param {Response} response */
async function keep(address, response) {
  await (await caches.open(cacheName)).put(address, response);
}

/** Keep a manifest, after the open pages and the files that are new in it. @param {string} address @param {Response} response */
async function update(address, response) {
  const cache = await caches.open(cacheName);
  const before = await digestsOf(await cache.match(address));
  const now = await digestsOf(response.clone());
  for (const file of before.keys()) if (!now.has(file)) await cache.delete(file);
  const pages = (await worker.clients.matchAll()).map(({ url }) => withoutSearch(url));
  for (const file of [...now.keys(), ...pages]) {
    const isSame = before.size === 0 || before.get(file) === now.get(file);
    if (!isSame || !(await cache.match(file))) await cache.add(new Request(file, { cache: "no-cache" }));
  }
  await keep(address, response);
}

/** Return the SHA-256 of the files of a manifest by address, without those of the model. @param {Response} [manifest] @returns {Promise<Map<string, string>>} */
async function digestsOf(manifest) {
  /** @type {{ file: string, sha256: string }[]} */
  const files = manifest ? (await manifest.json()).files : [];
  /** @type {Map<string, string>} */
  const digests = new Map();
  for (const { file, sha256 } of files) if (!isOfModel(base + file)) digests.set(base + file, sha256);
  return digests;
}
