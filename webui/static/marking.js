// The prompt of one object and the list of objects: marks, their masks, what is kept and edited.

import { Refusal } from "./engine.js";
import { hasObject, MOST_POINTS, MOST_STEPS, withBox, withPoint } from "./prompt.js";
import * as states from "./state.js";
import { boxBetween } from "./viewport.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./viewport.js").Place} Place */

const MOST_LABEL = 100; // characters, as on the server
const NOT_REFINED = "This model cannot refine the mask that you chose. Its mask comes from the points and the box alone.";

export class Marking {
  #predicting = false;
  /** @type {Promise<unknown>} the mask that is being kept, and the tasks that wait for it */
  #queue = Promise.resolve();
  #queued = 0;
  /** @type {number | null} */
  #clickedAt = null;

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
    this.store.listen((state) => { if (states.needsMasks(state)) this.#predict(); });
  }

  /** Do a task now, or after those that wait for a mask that is being kept. @param {() => unknown} task */
  #next(task) {
    const done = this.#queued ? this.#queue.then(task) : task();
    if (!(done instanceof Promise)) return;
    this.#queued++;
    this.#queue = done.catch((error) => this.page.fail(error)).finally(() => { this.#queued--; });
  }

  get takesMarks() {
    const { image, phase } = this.store.state;
    return image !== null && (phase === "ready" || phase === "encoding");
  }

  /** Mark a pixel. @param {Place} pixel @param {0 | 1} label */
  point(pixel, label) {
    if (this.takesMarks) this.#mark((prompt) => withPoint(prompt, [pixel.x, pixel.y, label]));
  }

  /** @param {Place} from @param {Place} to */
  box(from, to) {
    const box = boxBetween(from, to);
    if (box && this.takesMarks && this.store.state.tab === "prompt") this.#mark((prompt) => withBox(prompt, box));
  }

  /** @param {(prompt: import("./prompt.js").Prompt) => import("./prompt.js").Prompt} marked */
  #mark(marked) {
    this.#clickedAt = performance.now();
    this.#next(() => {
      const prompt = marked(this.store.state.doc.prompt);
      if (prompt.points.length > MOST_POINTS) this.page.say(`A prompt has at most ${MOST_POINTS} points. Undo some, or draw a box.`);
      else if (prompt.steps.length > MOST_STEPS) this.page.say(`At most ${MOST_STEPS} chosen masks can be refined in turn. Undo some, or clear the prompt.`);
      else {
        this.page.say("");
        this.store.apply(states.change, { prompt });
      }
    });
  }

  /** Request the masks of the current prompt, one request at a time; a prompt that changes meanwhile is the next. */
  async #predict() {
    if (this.#predicting) return;
    this.#predicting = true;
    const { store } = this;
    let { signal } = this.page.images;
    try {
      while (states.needsMasks(store.state)) {
        const { image, doc: { prompt }, clean, model } = store.state;
        if (!image) break;
        store.set({ decoding: true });
        signal = this.page.images.signal;
        const prediction = await this.page.engine.predict(image, prompt, { clean, signal });
        if (store.state.image?.key !== image.key) continue;
        store.set({ decoded: { prompt, clean, model, prediction }, times: { ...store.state.times, decode: prediction.decode_ms }, place: prediction.place ?? "server" });
        if (prompt.steps.length && !prediction.refined) this.page.say(NOT_REFINED, "note");
      }
    } catch (error) {
      this.page.fail(error);
      const { doc, clean, model } = store.state; // no request again before something changes
      if (!signal.aborted) store.set({ decoded: { prompt: doc.prompt, clean, model, prediction: { masks: [], best: 0, decode_ms: 0, refined: true } } });
    } finally {
      this.#predicting = false;
      store.set({ decoding: false });
    }
    if (states.needsMasks(store.state)) this.#predict();
  }

  /** Request masks again that could not be decoded. */
  retry() {
    this.page.say("");
    this.store.set({ decoded: null });
  }

  undo() {
    if (this.store.state.tab === "prompt") this.#next(() => this.store.apply(states.undo));
  }

  redo() {
    if (this.store.state.tab === "prompt") this.#next(() => this.store.apply(states.redo));
  }

  clear() {
    this.#next(() => this.store.apply(states.clear));
  }

  /** Choose a candidate by its place in the list. @param {number} place */
  chooseAt(place) {
    this.#next(() => {
      const { state } = this.store;
      const candidate = states.candidatesOf(state)[place];
      if (candidate && state.tab === "prompt" && states.isDecoded(state)) this.store.apply(states.choose, candidate.mask.index);
    });
  }

  painted() {
    const { state } = this.store;
    if (this.#clickedAt === null || !states.isDecoded(state) || !states.maskOf(state)) return;
    this.page.root.dataset.paintedMs = (performance.now() - this.#clickedAt).toFixed(1);
    this.#clickedAt = null;
  }

  /** Keep the mask in use as an object; then its label has the focus. */
  keep() {
    this.#next(() => this.#keepMask());
  }

  /** Return the objects to save. The mask of the current prompt is the last one, or replaces that of the edited object. */
  async saved() {
    await this.#queue;
    const mask = hasObject(this.store.state.doc.prompt) ? await this.#frozen() : null;
    const { doc } = this.store.state;
    const objects = doc.objects.map((object) => exported(object.mask, object.label, object.prompt));
    const edited = doc.objects.findIndex(({ id }) => id === doc.editing);
    if (mask && edited >= 0) objects[edited] = exported(mask, doc.objects[edited].label, doc.prompt);
    else if (mask) objects.push(exported(mask, "", doc.prompt));
    return objects;
  }

  async #keepMask() {
    const { store } = this;
    const { doc } = store.state;
    if (!store.state.image || !hasObject(doc.prompt)) return;
    const edited = doc.objects.find(({ id }) => id === doc.editing);
    const label = edited?.label ?? store.state.label;
    const mask = await this.#frozen();
    if (!mask) return;
    store.apply(states.keep, mask, label);
    if (this.#queued === 1) this.#focusLabel(edited?.id ?? store.state.doc.objects.at(-1)?.id); // nothing was marked since
  }

  /** Wait for the mask in use and return it at the original size, or null if another image was opened meanwhile. */
  async #frozen() {
    const { image } = this.store.state;
    await this.#settled();
    const { doc, clean } = this.store.state;
    const mask = states.maskOf(this.store.state);
    if (!image || this.store.state.image?.key !== image.key) return null;
    if (!mask) throw new Refusal("The masks of this prompt are missing. Try again.");
    const prompt = { ...doc.prompt, chosen: mask.index };
    const [frozen] = await this.page.engine.freeze(image, { prompt, clean }, this.page.images.signal);
    return frozen;
  }

  /** Wait until no prediction is on its way. */
  async #settled() {
    while (this.#predicting || states.needsMasks(this.store.state)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      if (this.store.state.phase === "empty") return;
    }
  }

  /** @param {number | undefined} id */
  #focusLabel(id) {
    if (id === undefined || matchMedia("(hover: none)").matches) return; // no keyboard over the image of a phone
    queueMicrotask(() => {
      const input = /** @type {HTMLInputElement | null} */ (this.page.root.querySelector(`[data-object="${id}"] input`));
      input?.focus();
      input?.select();
    });
  }

  /** @param {number} id */
  edit(id) {
    this.#next(() => this.store.apply(states.edit, id));
    this.store.set({ pointedObject: id });
  }

  /** @param {number} id */
  remove(id) {
    this.#next(() => this.store.apply(states.remove, id));
  }

  /** Remove the object that is being edited or has the focus. */
  removeCurrent() {
    const { doc, tab } = this.store.state;
    const row = document.activeElement?.closest("[data-object]");
    const id = row ? Number(/** @type {HTMLElement} */ (row).dataset.object) : doc.editing;
    if (tab === "prompt" && id !== null && doc.objects.some((each) => each.id === id)) this.remove(id);
  }

  /** @param {number} id @param {string} text */
  rename(id, text) {
    const whole = text.replace(/\s+/g, " ").trim();
    const label = [...whole].slice(0, MOST_LABEL).join("").trim();
    if (label !== whole) this.page.say(`A label has at most ${MOST_LABEL} characters. This one was cut.`, "note");
    const object = this.store.state.doc.objects.find((each) => each.id === id);
    if (object && object.label !== label) this.#next(() => this.store.apply(states.rename, id, label));
  }
}

/** @param {import("./engine.js").Frozen} mask @param {string} label @param {import("./prompt.js").Prompt | null} prompt */
function exported(mask, label, prompt) {
  const { rle: _, ...rest } = mask;
  return { ...rest, ...(label ? { label } : {}), ...(prompt ? { prompt } : {}) };
}
