// A visit: the token that the server knows this page by, and calls in its name.

import { Refusal } from "./transport.js";

const KEPT = "mobilesam-visit"; // so that a page that is reloaded goes on where it was

export class Visit {
  constructor(server) {
    this.server = server;
    this.token = null;
  }

  /** Come in where the visit of before ended, if the server knows it, else as a new visitor who uses `model`. */
  async enter() {
    return this.#hello(sessionStorage.getItem(KEPT), null);
  }

  /** Come in as a new visitor who uses `model`, whatever the server knows. */
  async enterAnew(model) {
    return this.#hello(null, model);
  }

  async #hello(token, model) {
    const answer = await this.server.hello({ token, model });
    if (answer.error) throw new Refusal(answer);
    this.token = answer.token;
    sessionStorage.setItem(KEPT, this.token);
    return answer;
  }

  get headers() {
    return { "X-Visitor": this.token };
  }

  /** Call a server function; an error it returns is thrown as a Refusal. */
  async call(name, fields = {}) {
    const answer = await this.server[name]({ token: this.token, ...fields });
    if (answer.error) throw new Refusal(answer);
    return answer;
  }
}
