// Talking to the server: actions one bundle at a time, long runs line by line.

/** What the server refuses; `expired` means that it no longer knows the image. */
export class Refusal extends Error {
  constructor({ error, expired = false }) {
    super(error);
    this.expired = expired;
  }
}

/**
 * Sends what has gathered since the last response as one bundle, and only then: a hundred quick clicks are a few calls,
 * no click is lost, and no response overtakes another.
 */
export class ActionQueue {
  constructor(send, onResponse, onError) {
    this.send = send;
    this.onResponse = onResponse;
    this.onError = onError;
    this.pending = [];
    this.sent = [];
    this.busy = false;
    this.era = 0;
    this.waiting = [];
  }

  /** Return a promise that is kept when all actions are answered. */
  idle() {
    return this.open.length ? new Promise((resolve) => this.waiting.push(resolve)) : Promise.resolve();
  }

  /** Actions that no response covers yet. */
  get open() {
    return [...this.sent, ...this.pending];
  }

  push(action) {
    this.pending.push(action);
    this.#next();
  }

  /** Forget what is under way: its answers belong to an earlier image. */
  reset() {
    this.era++;
    this.pending = [];
    this.sent = [];
    this.busy = false;
    this.#settle();
  }

  #settle() {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  async #next() {
    if (this.busy || !this.pending.length) return;
    const era = this.era;
    this.busy = true;
    this.sent = this.pending;
    this.pending = [];
    let deliver;
    try {
      const response = await this.send(this.sent);
      deliver = () => this.onResponse(response);
    } catch (error) {
      const unanswered = this.sent;
      deliver = () => this.onError(error, unanswered);
    }
    if (era !== this.era) return;
    this.busy = false;
    this.sent = [];
    deliver();
    if (this.open.length) this.#next();
    else this.#settle();
  }
}

/** Post, and hand over each line of the response as an object; return what `done` holds. */
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
  if (rest) throw new Refusal(refusalOf(rest, response.status));
  throw new Error("the server stopped in the middle of its answer");
}

/** Get bytes; a response that is no success becomes a Refusal. */
export async function fetchBlob(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Refusal(refusalOf(await response.text(), response.status));
  return { blob: await response.blob(), name: fileName(response.headers.get("content-disposition")) };
}

function refusalOf(text, status) {
  try {
    const body = JSON.parse(text);
    return body.error ? body : { error: `the server refused (${status})` };
  } catch {
    return { error: `the server refused (${status})` };
  }
}

function fileName(header) {
  const match = /filename\*=UTF-8''([^;]+)/.exec(header ?? "");
  return match ? decodeURIComponent(match[1]) : "mobilesam";
}
