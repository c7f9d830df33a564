// MobileSAM in a browser tab: the interface for other pages, of the shape of SamPredictor in Python. Coordinates are
// pixels of the image. The model runs in a worker, so that the page stays responsive.

import { checkWhole, InputError } from "./errors.js";
import { transferable } from "./pixels.js";
import { Remote } from "./remote.js";

export { InputError };

/** @typedef {import("./pixels.js").ImageSource} ImageSource */
/** @typedef {import("./predictor.js").Prediction} Prediction */
/** @typedef {import("./prompts.js").Prompt} Prompt */
/** @typedef {import("./geometry.js").Size} Size */

/**
 * @typedef {object} LoadOptions
 * @property {number} [threads] that the model uses on a cross-origin isolated page; by default one for each core, at
 *   most four. Other pages have one thread.
 * @property {boolean} [webgpu] encode on the GPU, where it gives the embedding of a known image
 * @property {(file: string, done: number, total: number) => void} [onDownload] called with the file that is fetched, and
 *   the bytes so far and in all, of the files that the browser does not keep yet
 * @property {(text: string) => void} [onNote] called with a sentence for the user if the browser cannot keep the files
 */

/**
 * @typedef {import("./candidate.js").MaskRecord} MaskRecord
 * @typedef {import("./everything.js").Settings & { signal?: AbortSignal, onProgress?: (done: number, total: number, masks: number) => void }} EverythingOptions
 */

const MOST_THREADS = 64;

/** Create it with {@link MobileSam.load}. */
export class MobileSam {
  #worker = new Remote(new URL("./worker.js", import.meta.url));

  /**
   * Load the model of a folder that `mobilesam site` wrote.
   * @param {string | URL} [url] the address of the folder; by default that of this script
   * @param {LoadOptions} [options]
   */
  static async load(url = new URL("..", import.meta.url), { threads, webgpu, onDownload, onNote } = {}) {
    if (threads !== undefined) checkWhole("threads", threads, 1, MOST_THREADS);
    const sam = new MobileSam();
    try {
      const note = await sam.#worker.call("open", { base: new URL(url, globalThis.document?.baseURI ?? location.href).href, threads, webgpu }, { onProgress: onDownload });
      if (note) onNote?.(note);
    } catch (error) {
      sam.close();
      throw error;
    }
    return sam;
  }

  /** Encode an image. A failure keeps the earlier one. @param {ImageSource} image */
  async setImage(image) {
    const source = await transferable(image);
    await this.#worker.call("setImage", source, { transfer: source instanceof ImageBitmap ? [source] : [] });
  }

  /** Return three masks of the object of a prompt, or one without `multimask`. @param {Prompt & { multimask?: boolean }} prompt @returns {Promise<Prediction>} */
  predict(prompt) {
    return this.#worker.call("predict", prompt);
  }

  /** Return the mask of the object that is most likely meant, with its `confidence`. @param {Prompt} prompt @returns {Promise<Prediction & { confidence: number | null }>} */
  predictOne(prompt) {
    return this.#worker.call("predictOne", prompt);
  }

  /**
   * Return a record for each object of the image, best first. An aborted run resolves with the records so far, and `partial`.
   * @param {EverythingOptions} [options]
   * @returns {Promise<MaskRecord[] & { partial: boolean }>}
   */
  async everything({ signal, onProgress, ...settings } = {}) {
    const { records, partial } = await this.#worker.call("everything", settings, { signal, onProgress });
    return Object.assign(records, { partial });
  }

  /** End the worker and free its memory. */
  close() {
    this.#worker.close();
  }
}
