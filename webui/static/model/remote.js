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
  #closed = false;

  /** @param {URL} script of the worker */
  constructor(script) {
    this.#worker = new Worker(script, { type: "module", name: "mobilesam" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = ({ message }) => this.#fail(new Error(`The worker of the model failed: ${message || "its script cannot be loaded"}.`));
  }

  /** Call a function. @param {string} method @param {unknown} [argument] @param {CallOptions} [options] @returns {Promise<any>} */
  call(method, argument, { transfer = [], onProgress, signal } = {}) {
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

  /** End the worker. */
  close() {
    this.#closed = true;
    this.#worker.terminate();
    this.#fail(new InputError("The model was closed."));
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
  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
