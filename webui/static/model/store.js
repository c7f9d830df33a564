// The files of a model in the browser's Cache API, under their SHA-256. Browsers may refuse to keep files, or have no
// room; every function then does nothing, and `note` says why.

const FULL = "The browser has no room to keep the model, so it is fetched again next time.";
const REFUSED = "The browser does not keep files of this page, so the model is fetched again next time.";

export class Store {
  /** Why files are not kept. @type {string | null} */
  note = null;
  #base;

  /** @param {string} base the address of the folder; each folder has its own files */
  constructor(base) {
    this.#base = base;
  }

  /** Return the SHA-256 of the files. @returns {Promise<string[]>} */
  async list() {
    const requests = await this.#use((cache) => cache.keys());
    return requests?.map(({ url }) => url.slice(url.lastIndexOf("/") + 1)) ?? [];
  }

  /** Return a file, or null. @param {string} sha256 */
  async get(sha256) {
    const content = await this.#use(async (cache) => (await cache.match(this.#address(sha256)))?.arrayBuffer());
    return content ? new Uint8Array(content) : null;
  }

  /** @param {string} sha256 @param {Uint8Array<ArrayBuffer>} content */
  async put(sha256, content) {
    await this.#use((cache) => cache.put(this.#address(sha256), new Response(content)));
  }

  /** Remove all other files. @param {Set<string>} listed */
  async keepOnly(listed) {
    const others = (await this.list()).filter((sha256) => !listed.has(sha256));
    await this.#use((cache) => Promise.all(others.map((sha256) => cache.delete(this.#address(sha256)))));
  }

  /** @param {string} sha256 */
  #address(sha256) {
    return `${this.#base}sha256/${sha256}`;
  }

  /** @template T @param {(cache: Cache) => Promise<T>} action @returns {Promise<T | null>} */
  async #use(action) {
    try {
      return await action(await globalThis.caches.open(`mobilesam model ${this.#base}`));
    } catch (error) {
      this.note = error instanceof DOMException && error.name === "QuotaExceededError" ? FULL : REFUSED;
      return null;
    }
  }
}
