// The engine that runs on the server. When the session has expired, it opens the same file again and repeats the request.

import { Refusal } from "./engine.js";
import { keep, kept } from "./session_storage.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./engine.js").ShownImage} ShownImage */

const TOKEN = "mobilesam-session"; // in the session storage, so that a reloaded page keeps its image

/** @implements {Engine} */
export class ServerEngine {
  token = "";
  /** @type {{ file: File, key: string } | null} */
  #source = null;
  /** @type {Promise<void> | null} */
  #reopening = null;
  #model = "";

  /**
   * @param {(call: object) => Promise<any>} hello the server function that gives a session
   * @param {(text: string) => void} onReopen called with a text while the image is opened again, then with ""
   */
  constructor(hello, onReopen) {
    this.hello = hello;
    this.onReopen = onReopen;
  }

  async start() {
    const settings = await this.#greet({ token: kept(TOKEN) });
    this.#model = settings.model;
    return settings;
  }

  /** @param {object} fields */
  async #greet(fields) {
    const response = await this.hello(fields).catch(() => null);
    if (!response) throw new Refusal(UNREACHABLE);
    if (response.error) throw new Refusal(response.error);
    this.token = response.token;
    keep(TOKEN, this.token);
    this.greeted(response);
    return response;
  }

  /** Called with the settings at each start of a session. @param {import("./engine.js").Settings} _settings */
  greeted(_settings) {}

  /** @type {Engine["open"]} */
  async open(file, { signal, onWaiting, onImage } = {}) {
    const send = () => this.#follow("service/image", { body: file, signal, headers: { "X-File-Name": encodeURIComponent(file.name || "image") } }, (event) => {
      if (event.waiting) onWaiting?.(event.waiting);
      if (!event.image) return;
      this.#source = { file, key: event.image.key };
      onImage?.(event.image);
    });
    try {
      return await send();
    } catch (error) {
      if (!isExpired(error)) throw error;
      await this.#greet({ model: this.#model });
      return send();
    }
  }

  /** @type {Engine["use"]} */
  async use(name, { signal, onWaiting } = {}) {
    const key = this.#source?.key;
    const opened = await this.#again(key, () => this.#follow(`service/model/${encodeURIComponent(name)}`, { signal, headers: key === undefined ? {} : { "X-Image": key } }, (event) => {
      if (event.waiting) onWaiting?.(event.waiting);
    }));
    this.#model = opened.model;
    return opened;
  }

  /** @type {Engine["preview"]} */
  preview(image, signal) {
    return this.#again(image.key, async () => reached((await this.#request("service/preview", { signal, image })).blob()));
  }

  /** @type {Engine["crop"]} */
  crop(image, area, side, signal) {
    const query = new URLSearchParams(Object.entries({ ...area, side }).map(([name, value]) => [name, String(value)]));
    return this.#again(image.key, async () => reached((await this.#request(`service/crop?${query}`, { signal, image })).blob()));
  }

  /** @type {Engine["predict"]} */
  predict(image, prompt, { clean = false, hover = false, signal } = {}) {
    const request = () => this.#json("service/predict", { prompt, clean, hover }, { image, signal });
    return hover ? request() : this.#again(image.key, request);
  }

  /** Return the embedding of an image, 256 x 64 x 64 float16 numbers. @param {ShownImage} image */
  embedding(image) {
    return this.#again(image.key, async () => reached((await this.#request("service/embedding", { image })).arrayBuffer()));
  }

  /** @type {Engine["freeze"]} */
  freeze(image, what, signal) {
    return this.#again(image.key, async () => (await this.#json("service/freeze", what, { image, signal })).objects);
  }

  /** @type {Engine["everything"]} */
  everything(image, mode, { clean = false, signal, onWaiting, onProgress } = {}) {
    const stop = () => this.#json("service/cancel", {}, {}).catch(() => {});
    const options = { body: JSON.stringify({ mode, clean }), headers: { "X-Image": image.key, "Content-Type": "application/json" } };
    signal?.addEventListener("abort", stop);
    const run = () => this.#follow("service/everything", options, ({ waiting, progress }) => {
      if (signal?.aborted) stop(); // again, where the first came before the run
      if (waiting) onWaiting?.(waiting);
      if (progress) onProgress?.(progress.done / progress.total, progress.candidates);
    });
    return this.#again(image.key, run).finally(() => signal?.removeEventListener("abort", stop));
  }

  /** @type {Engine["save"]} */
  save(image, kind, what, signal) {
    return this.#again(image.key, async () => {
      const response = await this.#request(`service/save/${kind}`, { method: "POST", body: JSON.stringify(what), type: "application/json", image, signal });
      const match = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("content-disposition") ?? "");
      return { blob: await reached(response.blob()), name: match ? decodeURIComponent(match[1]) : "mobilesam" };
    });
  }

  /** @type {Engine["sample"]} */
  sample(file) {
    return new URL(`service/samples/${encodeURIComponent(file)}`, document.baseURI).href;
  }

  close() {
    this.#source = null;
  }

  /**
   * Do a task; if the session has expired, open the image again and repeat it.
   * @template Result
   * @param {string | undefined} key of the image
   * @param {() => Promise<Result>} task
   * @returns {Promise<Result>}
   */
  async #again(key, task) {
    try {
      return await task();
    } catch (error) {
      if (!isExpired(error)) throw error;
      if (key !== undefined && this.#source && this.#source.key !== key) throw new DOMException("Another image was opened.", "AbortError");
      if (key !== undefined && !this.#source) throw error;
      this.#reopening ??= this.#reopen().finally(() => { this.#reopening = null; });
      await this.#reopening;
      return task();
    }
  }

  async #reopen() {
    this.onReopen("The session expired. Uploading the image again …");
    try {
      await this.#greet({ model: this.#model });
      if (this.#source) await this.open(this.#source.file);
    } finally {
      this.onReopen("");
    }
  }

  /**
   * @param {string} url
   * @param {{ method?: string, body?: BodyInit, type?: string, image?: ShownImage, headers?: Record<string, string>, signal?: AbortSignal }} options
   */
  async #request(url, { image, type, headers = {}, ...options }) {
    const all = { ...headers, "X-Session": this.token, ...(image ? { "X-Image": image.key } : {}), ...(type ? { "Content-Type": type } : {}) };
    const response = await reached(fetch(url, { ...options, headers: all }));
    if (!response.ok) throw refusalOf(await response.text().catch(() => ""), response.status);
    return response;
  }

  /** @param {string} url @param {object} body @param {{ image?: ShownImage, signal?: AbortSignal }} options */
  async #json(url, body, options) {
    const response = await this.#request(url, { ...options, method: "POST", body: JSON.stringify(body), type: "application/json" });
    return reached(response.json());
  }

  /**
   * Send a POST request, call `onEvent` with each line of the response, and return the `done` object.
   * @param {string} url
   * @param {{ body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal }} options
   * @param {(event: any) => void} onEvent
   */
  async #follow(url, options, onEvent) {
    const response = await this.#request(url, { method: "POST", ...options });
    if (!response.body) throw new Refusal(UNREACHABLE);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reached(reader.read());
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const event = eventOf(line);
        if (event.error) throw new Refusal(event.error, event.expired);
        if (event.done) return event.done;
        onEvent(event);
      }
    }
    throw new Refusal("The connection was closed before the response was complete. Try again.");
  }
}

const UNREACHABLE = "The server does not respond. Check that it is running and try again.";
/** @type {Record<number, string>} */
const STATUS = {
  200: "Something between this page and the server responds in its place. Reload the page.",
  401: "The login has expired. Reload the page and log in again.",
  413: "The file is too large for the server or for a proxy before it. Open a smaller one.",
  429: "The server gets too many requests. Try again in a moment.",
  502: "The proxy does not reach the server. Try again in a moment.",
  503: "The server is not available. Try again in a moment.",
  504: "The server did not respond in time. Try again in a moment.",
};

/** Return a line of a stream as an object. @param {string} line */
function eventOf(line) {
  try {
    return JSON.parse(line);
  } catch {
    throw refusalOf(line, 200); // of a proxy, such as its login page
  }
}

/** @param {unknown} error */
function isExpired(error) {
  return error instanceof Refusal && error.expired;
}

/**
 * Return what a request to the server gives; a lost connection becomes a Refusal.
 * @template Result
 * @param {Promise<Result>} request
 * @returns {Promise<Result>}
 */
async function reached(request) {
  try {
    return await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal(UNREACHABLE);
  }
}

/**
 * Return the error of a response, which is JSON from this server, and anything from a proxy.
 * @param {string} text @param {number} status
 */
export function refusalOf(text, status) {
  try {
    const body = JSON.parse(text);
    if (typeof body.error === "string") return new Refusal(body.error, body.expired === true);
  } catch {
    // Not JSON.
  }
  return new Refusal(STATUS[status] ?? `The server refused the request with status ${status}. Try again.`);
}
