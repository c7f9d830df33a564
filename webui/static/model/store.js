// The files of models in the browser's Cache API, under their SHA-256. Browsers may refuse to keep files, or have no
// room; every function then does nothing, and `note` says why.

const NAME = "mobilesam model"; // one cache for all pages of an origin: equal files are kept once
const FULL = "The browser has no room to keep the model, so it is fetched again next time.";
const REFUSED = "The browser does not keep files of this page, so the model is fetched again next time.";

export class Store {
  /** Why files are not kept. @type {string | null} */
  note = null;
  #prefix;

  /** @param {string} model its name: the other versions of it that these scripts kept can be removed */
  constructor(model) {
    this.#prefix = new URL(`../kept/${encodeURIComponent(model)}/`, import.meta.url).href;
  }

  /** Return the SHA-256 of the files. @returns {Promise<string[]>} */
  async list() {
    const requests = await this.#use((cache) => cache.keys());
    return requests?.map(digestOf) ?? [];
  }

  /** Return a file, or null. @param {string} sha256 */
  async get(sha256) {
    const content = await this.#use(async (cache) => {
      const request = (await cache.keys()).find((each) => digestOf(each) === sha256);
      return request && (await cache.match(request))?.arrayBuffer();
    });
    return content ? new Uint8Array(content) : null;
  }

  /** Keep a file, in the place of a damaged one. @param {string} sha256 @param {Uint8Array<ArrayBuffer>} content */
  async put(sha256, content) {
    await this.#remove((request) => digestOf(request) === sha256);
    await this.#use((cache) => cache.put(this.#prefix + sha256, new Response(content)));
  }

  /** Remove the other versions of the model. @param {Set<string>} listed */
  async removeOthers(listed) {
    await this.#remove((request) => request.url.startsWith(this.#prefix) && !listed.has(digestOf(request)));
  }

  /** @param {(request: Request) => boolean} condition */
  async #remove(condition) {
    await this.#use(async (cache) => {
      for (const request of await cache.keys()) if (condition(request)) await cache.delete(request);
    });
  }

  /** @template T @param {(cache: Cache) => Promise<T>} action @returns {Promise<T | null>} */
  async #use(action) {
    try {
      return await action(await globalThis.caches.open(NAME));
    } catch (error) {
      this.note = error instanceof DOMException && error.name === "QuotaExceededError" ? FULL : REFUSED;
      return null;
    }
  }
}

/** @param {Request} request */
function digestOf({ url }) {
  return url.slice(url.lastIndexOf("/") + 1);
}
