// The one place where the state lives. Transitions replace it, and listeners run once after all changes of a task.

/** @typedef {import("./state.js").State} State */

export class Store {
  /** @type {Set<(state: State, before: State) => void>} */
  #listeners = new Set();
  #queued = false;

  /** @param {State} state */
  constructor(state) {
    this.state = state;
    this.seen = state;
  }

  /**
   * Replace the state by `transition(state, ...values)`.
   * @template {unknown[]} Values
   * @param {(state: State, ...values: Values) => State} transition
   * @param {Values} values
   */
  apply(transition, ...values) {
    const state = transition(this.state, ...values);
    if (state === this.state) return;
    this.state = state;
    if (!this.#queued) {
      this.#queued = true;
      queueMicrotask(() => this.#notify());
    }
  }

  /** @param {Partial<State>} changes */
  set(changes) {
    this.apply((state) => ({ ...state, ...changes }));
  }

  /** @param {(state: State, before: State) => void} listener called with the new state and the one of the last call */
  listen(listener) {
    this.#listeners.add(listener);
  }

  #notify() {
    this.#queued = false;
    const { seen, state } = this;
    this.seen = state;
    for (const listener of this.#listeners) listener(state, seen);
  }
}
