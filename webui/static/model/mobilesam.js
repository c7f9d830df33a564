// MobileSAM in a browser tab: the interface for other pages, of the shape of SamPredictor in Python. Coordinates are
// pixels of the image. The model runs in a worker, so that the page stays responsive.

import { InputError } from "./errors.js";
import { transferable } from "./pixels.js";

export { InputError };

/** @typedef {import("./pixels.js").ImageSource} ImageSource */
/** @typedef {import("./predictor.js").Prediction} Prediction */
/** @typedef {import("./prompts.js").Prompt} Prompt */
/** @typedef {import("./geometry.js").Size} Size */

/**
 * @typedef {object} LoadOptions
 * @property {number} [threads] that the model uses on a cross-origin isolated page; by default one for each core, at
 *   most four. Other pages have one thread.
 * @property {(file: string, done: number, total: number) => void} [onDownload] called with the file that is fetched, and
 *   the bytes so far and in all
 */

/**
 * @typedef {import("./candidate.js").MaskRecord} MaskRecord
 * @typedef {import("./everything.js").Settings & { signal?: AbortSignal, onProgress?: (done: number, total: number, masks: number) => void }} EverythingOptions
 */

/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, onProgress?: (...values: any[]) => void }} Waiting */

export class MobileSam {
  #worker;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #next = 0;
  #closed = false;

  /** Use {@link MobileSam.load}. @param {Worker} worker */
  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => this.#fail(new Error(`The worker of the model failed: ${event.message || "its script cannot be loaded"}.`));
  }

  /**
   * Load the model of a folder that `mobilesam site` wrote.
   * @param {string | URL} [url] the address of the folder; by default that of this script
   * @param {LoadOptions} [options]
   */
  static async load(url = new URL("..", import.meta.url), { threads, onDownload } = {}) {
    if (!WebAssembly.validate(SIMD)) throw new InputError("This browser has no WebAssembly SIMD, which the model needs. Use a newer browser.");
    const sam = new MobileSam(new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "mobilesam" }));
    try {
      await sam.#call("open", { base: new URL(url, globalThis.document?.baseURI ?? location.href).href, threads }, { onProgress: onDownload });
    } catch (error) {
      sam.close();
      throw error;
    }
    return sam;
  }

  /** Encode an image. A failure keeps the earlier one. @param {ImageSource} image */
  async setImage(image) {
    const source = await transferable(image);
    await this.#call("setImage", source, { transfer: source instanceof ImageBitmap ? [source] : [] });
  }

  /** Return three masks of the object of a prompt, or one without `multimask`. @param {Prompt & { multimask?: boolean }} prompt @returns {Promise<Prediction>} */
  predict(prompt) {
    return this.#call("predict", prompt);
  }

  /** Return the mask of the object that is most likely meant, with its `confidence`. @param {Prompt} prompt @returns {Promise<Prediction & { confidence: number | null }>} */
  predictOne(prompt) {
    return this.#call("predictOne", prompt);
  }

  /**
   * Return a record for each object of the image, best first. An aborted run resolves with the records so far, and `partial`.
   * @param {EverythingOptions} [options]
   * @returns {Promise<MaskRecord[] & { partial: boolean }>}
   */
  async everything({ signal, onProgress, ...settings } = {}) {
    const { records, partial } = await this.#call("everything", settings, { signal, onProgress });
    return Object.assign(records, { partial });
  }

  /** End the worker and free its memory. */
  close() {
    this.#closed = true;
    this.#worker.terminate();
    this.#fail(new InputError("The model was closed."));
  }

  /** @param {string} method @param {unknown} argument @param {{ transfer?: Transferable[], onProgress?: (...values: any[]) => void, signal?: AbortSignal }} [options] @returns {Promise<any>} */
  #call(method, argument, { transfer = [], onProgress, signal } = {}) {
    if (this.#closed) return Promise.reject(new InputError("The model was closed. Load it again."));
    const id = this.#next++;
    const cancel = () => this.#worker.postMessage({ method: "cancel", argument: id });
    signal?.addEventListener("abort", cancel);
    const response = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, method, argument }, transfer);
      if (signal?.aborted) cancel();
    });
    return response.finally(() => signal?.removeEventListener("abort", cancel));
  }

  /** @param {{ id: number, result?: unknown, error?: { name: string, message: string }, progress?: unknown[] }} message */
  #receive({ id, result, error, progress }) {
    const waiting = this.#waiting.get(id);
    if (progress) {
      waiting?.onProgress?.(...progress);
      return;
    }
    this.#waiting.delete(id);
    if (!error) waiting?.resolve(result);
    else waiting?.reject(error.name === "InputError" ? new InputError(error.message) : new Error(error.message));
  }

  /** @param {Error} error */
  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

// A module with one function that uses a vector instruction.
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
