// Calls of functions in a worker, which serve() of serving.js provides.

import { InputError } from "./errors.js";

/**
 * @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, onProgress?: (...values: any[]) => void }} Waiting
 *
 * @typedef {object} CallOptions
 * @property {Transferable[]} [transfer] parts of the argument that move to the worker
 * @property {(...values: any[]) => void} [onProgress]
 * @property {AbortSignal} [signal] requests that the function ends early
 */

export class Remote {
  #worker;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #next = 0;
  /** @type {Error | null} why it cannot be called */
  #ended = null;

  /** @param {URL} script of the worker */
  constructor(script) {
    this.#worker = new Worker(script, { type: "module", name: "mobilesam" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = ({ message }) => this.#end(new InputError(`The model ended: ${message || "its script cannot be loaded"}. Reload the page.`));
  }

  /** Call a function. @param {string} method @param {unknown} [argument] @param {CallOptions} [options] @returns {Promise<any>} */
  call(method, argument, { transfer = [], onProgress, signal } = {}) {
    if (this.#ended) return Promise.reject(this.#ended);
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

  /** End the worker. */
  close() {
    this.#worker.terminate();
    this.#end(new InputError("The model was closed. Load it again."));
  }

  /** @param {import("./serving.js").Response} response */
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
  #end(error) {
    this.#ended = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
