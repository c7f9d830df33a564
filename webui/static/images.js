// Images and models: opening, showing, switching.

import { Refusal } from "./engine.js";
import { keptDocument } from "./persist.js";
import * as states from "./state.js";

/** @typedef {import("./page.js").Page} Page */

export class Images {
  /** @type {AbortController | null} */
  #opening = null;
  #shown = new AbortController();

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
  }

  /** Aborted when another image is shown. */
  get signal() {
    return this.#shown.signal;
  }

  /** Show the image that is open from before a reload. @param {import("./engine.js").ShownImage} image */
  async resume(image) {
    const bitmap = await createImageBitmap(await this.page.engine.preview(image));
    this.store.apply(states.show, image, bitmap);
    this.store.set({ ...keptDocument(image.key), phase: "ready" });
  }

  /** Open an image; the earlier one stays until the engine has read the new one. @param {File} file */
  async open(file) {
    const { store } = this;
    const { settings } = store.state;
    const { max_upload_mb } = settings;
    if (file.size > max_upload_mb * 1e6) {
      this.page.say(`${file.name} has ${Math.round(file.size / 1e6)} MB. This server accepts files of at most ${max_upload_mb} MB.`);
      return;
    }
    this.#opening?.abort();
    const opening = (this.#opening = new AbortController());
    const { signal } = opening;
    const isLatest = () => this.#opening === opening && !signal.aborted;
    this.page.say("");
    store.set({ phase: "uploading", status: settings.runs === "tab" ? "Opening …" : "Uploading …", preview: null });
    /** @type {Promise<void> | null} */
    let shown = null;
    try {
      const opened = await this.page.engine.open(file, {
        signal,
        onWaiting: (place) => { if (isLatest()) store.set({ status: `Waiting in the queue, place ${place} …` }); },
        onImage: (image) => {
          shown ??= this.#show(image, isLatest, signal);
          shown.catch(() => {}); // also awaited below, unless the upload fails before
        },
      });
      await shown;
      if (!isLatest()) return;
      store.set({ phase: store.state.image ? "ready" : "empty", status: "", model: opened.model, times: { encode: opened.encode_ms } });
      if (opened.image?.note) this.page.say(opened.image.note, "note");
    } catch (error) {
      if (!isLatest()) return;
      store.set({ phase: store.state.image ? "ready" : "empty", status: "" });
      this.page.fail(error, file.name);
    }
  }

  /** @param {import("./engine.js").ShownImage} image @param {() => boolean} isLatest @param {AbortSignal} signal */
  async #show(image, isLatest, signal) {
    const bitmap = await createImageBitmap(await this.page.engine.preview(image, signal));
    if (!isLatest()) return;
    this.page.segmenting.stop();
    const same = this.store.state.image?.key === image.key;
    if (!same) {
      this.#shown.abort();
      this.#shown = new AbortController();
    }
    this.store.apply(states.show, image, bitmap);
    this.store.set({ phase: "encoding", status: "Encoding …", ...(same ? {} : keptDocument(image.key)) });
  }

  /** @param {string} file */
  async openSample(file) {
    const opening = this.#opening;
    try {
      const response = await fetch(this.page.engine.sample(file)).catch(() => null);
      if (!response?.ok) throw new Refusal("The sample photo cannot be fetched. Check the connection and try again.");
      const blob = await response.blob();
      if (this.#opening !== opening) return; // another file was opened meanwhile
      await this.open(new File([blob], file, { type: "image/jpeg" }));
    } catch (error) {
      this.page.fail(error);
    }
  }

  /** @param {string} name */
  async useModel(name) {
    const { store } = this;
    const opening = this.#opening;
    this.page.segmenting.stop();
    const { phase, model } = store.state;
    store.set({ phase: store.state.image ? "encoding" : phase, status: store.state.image ? "Encoding …" : "Loading the model …", model: name });
    try {
      const opened = await this.page.engine.use(name, { onWaiting: (place) => store.set({ status: `Waiting in the queue, place ${place} …` }) });
      if (this.#opening !== opening) return;
      store.set({ model: opened.model, times: store.state.image ? { encode: opened.encode_ms } : {} });
    } catch (error) {
      if (this.#opening !== opening) return;
      store.set({ model });
      this.page.fail(error);
    }
    store.set({ phase: store.state.image ? "ready" : "empty", status: "" });
  }
}
