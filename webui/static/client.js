// A visit: the token that the server knows this page by, and calls in its name.

import { Refusal } from "./transport.js";

const KEPT = "mobilesam-session"; // so that a page that is reloaded goes on where it was

export class Client {
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
    const response = await this.server.hello({ token, model });
    if (response.error) throw new Refusal(response);
    this.token = response.token;
    sessionStorage.setItem(KEPT, this.token);
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
