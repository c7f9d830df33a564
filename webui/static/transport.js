// Requests to the server: server functions, actions in bundles, and streams of long runs.

const TOKEN = "mobilesam-session"; // in the session storage, so that a reloaded page keeps its session

/** An error that the server returned; `expired` means that the image must be opened again. */
export class Refusal extends Error {
  constructor({ error, expired = false }) {
    super(error);
    this.expired = expired;
  }
}

/** Calls server functions in the session of this page. */
export class Client {
  constructor(server) {
    this.server = server;
    this.token = null;
  }

  /** Start from the last session of this tab if the server knows it, else, or with `model`, with a new session. */
  async start(model = null) {
    const token = model === null ? sessionStorage.getItem(TOKEN) : null;
    const response = await this.call("hello", { token, model });
    this.token = response.token;
    sessionStorage.setItem(TOKEN, this.token);
    return response;
  }

  get headers() {
    return { "X-Session": this.token };
  }

  /** Call a server function; an error it returns is thrown as a Refusal. */
  async call(name, fields = {}) {
    const response = await this.server[name]({ token: this.token, ...fields });
    if (response.error) throw new Refusal(response);
    return response;
  }
}

/**
 * Sends actions in order, one bundle at a time: the actions that gather during a request are sent together after its
 * response, so a hundred quick clicks are a few requests.
 */
export class ActionQueue {
  constructor(send, onResponse, onError) {
    Object.assign(this, { send, onResponse, onError, waiting: [], era: 0 });
    this.#empty();
  }

  #empty() {
    Object.assign(this, { pending: [], sent: [], busy: false });
  }

  /** Return a promise that resolves when no action is open. */
  idle() {
    return this.open.length ? new Promise((resolve) => this.waiting.push(resolve)) : Promise.resolve();
  }

  /** Actions without a response yet. */
  get open() {
    return [...this.sent, ...this.pending];
  }

  push(action) {
    this.pending.push(action);
    this.#next();
  }

  /** Drop all actions and the response of the current request, which belong to an earlier image. */
  reset() {
    this.era++;
    this.#empty();
    this.#settle();
  }

  #settle() {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  async #next() {
    if (this.busy || !this.pending.length) return;
    const { era, pending: actions } = this;
    Object.assign(this, { busy: true, sent: actions, pending: [] });
    const deliver = await this.send(actions).then(
      (response) => () => this.onResponse(response),
      (error) => () => this.onError(error, actions),
    );
    if (era !== this.era) return;
    this.busy = false;
    this.sent = [];
    deliver();
    if (this.open.length) this.#next();
    else this.#settle();
  }
}

/** Send a POST request, call `onEvent` with each line of the response as an object, and return the `done` object. */
export async function follow(url, options, onEvent) {
  const response = await fetch(url, { method: "POST", ...options });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, result] = ["", null];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.error) throw new Refusal(event);
      if (event.done) result = event.done;
      else onEvent(event);
    }
  }
  if (result) return result;
  if (rest) throw refusalOf(rest, response.status);
  throw new Error("the connection was closed before the response was complete");
}

/** Return the content and the file name of a response; an error status is thrown as a Refusal. */
export async function fetchBlob(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw refusalOf(await response.text(), response.status);
  const match = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("content-disposition") ?? "");
  return { blob: await response.blob(), name: match ? decodeURIComponent(match[1]) : "mobilesam" };
}

function refusalOf(text, status) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // The body is not JSON, as that of a proxy.
  }
  return new Refusal(body.error ? body : { error: `the server refused the request (status ${status})` });
}
