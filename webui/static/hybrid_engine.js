// The engine of a server's page: the server encodes images, and this tab decodes their masks once it has the decoder and
// the embedding. Until then, and where the tab cannot, the server decodes.

import { Remote } from "./model/remote.js";
import { ServerEngine } from "./server.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./engine.js").ShownImage} ShownImage */

const THREADS = 1; // a decode is short, and several threads that wait for one another are slow on a busy machine

/** @implements {Engine} */
export class HybridEngine extends ServerEngine {
  /** @type {Remote | null} */
  #worker = null;
  /** @type {Promise<boolean>} whether the worker has the decoder of the model in use */
  #decoder = Promise.resolve(false);
  #address = ""; // of the decoder that the worker has
  #model = "";
  /** @type {Record<string, string>} the address of the decoder of each model that a tab can run */
  #decoders = {};
  #wanted = ""; // the image whose embedding the worker gets
  #ready = ""; // the image whose embedding it has

  async start() {
    const settings = await super.start();
    if (settings.image) this.#fetchEmbedding(settings.image);
    return settings;
  }

  /** Take what the server says of itself; after a restart, its decoders are others. @param {import("./engine.js").Settings} settings */
  greeted({ model, decoders = {} }) {
    this.#model = model;
    this.#decoders = decoders;
  }

  /** @type {Engine["open"]} */
  async open(file, options) {
    const opened = await super.open(file, options);
    if (opened.image) this.#fetchEmbedding(opened.image);
    return opened;
  }

  /** @type {Engine["use"]} */
  async use(name, options) {
    const opened = await super.use(name, options);
    this.#model = opened.model;
    if (opened.image) this.#fetchEmbedding(opened.image);
    return opened;
  }

  /** @type {Engine["predict"]} */
  async predict(image, prompt, options = {}) {
    const { clean = false, signal } = options;
    const decoded = await this.#inTab(image, "predict", { prompt, clean, shown: image.shown });
    signal?.throwIfAborted();
    return decoded ? { ...decoded, place: "tab" } : super.predict(image, prompt, options);
  }

  /** @type {Engine["freeze"]} */
  async freeze(image, what, signal) {
    const decoded = "prompt" in what ? await this.#inTab(image, "freeze", { ...what, shown: image.shown }) : null;
    signal?.throwIfAborted();
    return decoded ?? super.freeze(image, what, signal);
  }

  close() {
    super.close();
    this.#wanted = this.#ready = "";
  }

  /** Load the decoder of the model in use, in the background. */
  #load() {
    const address = this.#decoders[this.#model] ?? "";
    if (address === this.#address) return;
    this.#stop();
    this.#address = address;
    if (!address || typeof Worker === "undefined" || typeof WebAssembly === "undefined") return;
    const worker = (this.#worker = new Remote(new URL("./model/page_worker.js", import.meta.url)));
    this.#decoder = worker.call("open", { base: new URL(address, document.baseURI).href, threads: THREADS }).then(
      () => true,
      (error) => {
        if (this.#worker === worker) this.#stop(error);
        return false;
      },
    );
  }

  /** @param {ShownImage} image */
  async #fetchEmbedding(image) {
    this.#wanted = image.key;
    this.#ready = "";
    this.#load();
    const worker = this.#worker;
    if (!worker) return;
    try {
      const [content, isOpen] = await Promise.all([this.embedding(image), this.#decoder]);
      if (!isOpen || this.#wanted !== image.key || this.#worker !== worker) return;
      await worker.call("setEmbedding", { key: image.key, embedding: content, size: { width: image.width, height: image.height } }, { transfer: [content] });
      if (this.#wanted === image.key) this.#ready = image.key;
    } catch {
      // The server decodes this image.
    }
  }

  /** Return what the worker decodes, or null if the server must. @param {ShownImage} image @param {string} method @param {object} request */
  async #inTab(image, method, request) {
    const worker = this.#worker;
    if (!worker || this.#ready !== image.key) return null;
    try {
      return await worker.call(method, { key: image.key, ...request });
    } catch (error) {
      const isOfRequest = error instanceof Error && error.name === "InputError";
      if (this.#worker === worker && !isOfRequest) this.#stop(error);
      return null;
    }
  }

  /** End the worker; from now on the server decodes. @param {unknown} [error] */
  #stop(error) {
    if (error) console.warn("This tab cannot decode masks, so the server does:", error);
    this.#worker?.close();
    this.#worker = null;
    this.#decoder = Promise.resolve(false);
    this.#ready = "";
  }
}
