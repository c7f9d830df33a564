// The page: keeps what the server last said, and asks it for more.

import { Everything } from "./everything.js";
import { listen } from "./input.js";
import { Preview } from "./preview.js";
import { after, choices, marks, NOTHING } from "./prompt.js";
import { Stage } from "./stage.js";
import { fetchBlob, follow, ActionQueue, Refusal } from "./transport.js";
import { View } from "./view.js";
import { Client } from "./client.js";

const EMPTY = { image: null, prompt: NOTHING, masks: [], chosen: 0, undo: false, redo: false };

/** Make the page work: `root` is its element, `server` holds the server functions. */
export function start(root, server) {
  if (!root.page) root.page = new Page(root, server);
}

class Page {
  constructor(root, server) {
    this.root = root;
    this.client = new Client(server);
    this.session = EMPTY;
    this.look = "overlay";
    this.file = null; // the image as the visitor gave it, to open it again if the server forgot it
    this.maxUploadMb = Infinity;
    this.entering = null; // the promise of coming in anew
    this.opening = 0; // counts images, so that a later one overtakes
    this.uploading = false; // and what is clicked belongs to neither image
    this.view = new View(this);
    this.preview = new Preview(this);
    this.queue = new ActionQueue(
      (actions) => this.client.call("act", { actions, image: this.session.image.key }),
      (response) => this.#receive(response),
      (error, actions) => this.refused(error, actions),
    );
    this.stage = new Stage(this.part("canvas"), {
      point: (pixel, label) => (this.all ? this.everything.toggle(pixel) : this.act({ do: "point", ...pixel, label })),
      box: (box) => this.act({ do: "box", box }),
      hover: (pixel) => (this.all ? this.everything.hover(pixel) : this.preview.hover(pixel)),
      painted: () => this.view.painted(),
    });
    this.everything = new Everything(this);
    listen(this);
    this.#enter();
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  /** Whether everything mode is in front. */
  get all() {
    return this.root.dataset.tab === "everything";
  }

  /** The prompt with what is under way, so that a mark appears with the click. */
  get expected() {
    return after(this.session.prompt, this.queue.open);
  }

  /** Headers of a request about the image that is shown. */
  get headers() {
    return { ...this.client.headers, "X-Image": this.session.image?.key ?? "" };
  }

  redraw() {
    this.view.draw();
  }

  message(text, kind) {
    this.view.message(text, kind);
  }

  async #enter() {
    try {
      const { models, modes, max_upload_mb, session } = await this.client.enter();
      this.maxUploadMb = max_upload_mb;
      this.part("model").replaceChildren(...Object.entries(models).map(([name, label]) => new Option(label, name)));
      this.everything.offer(modes);
      if (session.image) this.#showImage(session, await this.#bitmap(session.image));
      else this.#take(session);
      this.view.state(session.image ? "ready" : "empty");
      this.redraw();
    } catch (error) {
      this.view.state("empty");
      this.message(`The server does not answer: ${error.message}. Reload the page to try again.`);
    }
  }

  // Images --------------------------------------------------------------------------------------------------------

  /** Open an image, then do `actions`; until the server has read it, the earlier one stays. */
  async open(file, actions = [], again = false) {
    if (file.size > this.maxUploadMb * 1e6) {
      const size = Math.round(file.size / 1e6);
      this.message(`${file.name} has ${size} MB; this server takes at most ${this.maxUploadMb} MB.`);
      return;
    }
    const turn = ++this.opening;
    const before = this.session.image ? "ready" : "empty";
    let shown = null;
    this.uploading = true;
    this.message("");
    this.view.state("opening", "Uploading …");
    try {
      const headers = { ...this.client.headers, "X-File-Name": encodeURIComponent(file.name || "image") };
      const done = await follow("service/image", { body: file, headers }, (event) => {
        if (turn !== this.opening) return;
        if (event.waiting) this.view.status(`Waiting in the queue, place ${event.waiting} …`);
        if (event.image) shown = this.#begin(file, event.image, turn);
      });
      await shown;
      if (turn !== this.opening) return;
      this.view.times({ encode: done.encode_ms });
      if (!this.queue.open.length && !this.session.masks.length) this.#take(done.session);
      this.view.state("ready");
      this.message(done.session.image.note, "note");
      for (const action of actions) this.queue.push(action);
      this.redraw();
    } catch (error) {
      if (turn !== this.opening) return;
      this.uploading = false;
      this.view.state(before);
      if (error.expired && !again) await this.#again(file);
      else this.message(`${file.name}: ${readable(error)}`);
    }
  }

  /** Show an image that the server has read and now encodes, and forget what belongs to the earlier one. */
  async #begin(file, session, turn) {
    this.view.status("Encoding …");
    const bitmap = await this.#bitmap(session.image);
    if (turn !== this.opening) return;
    this.file = file;
    this.uploading = false;
    this.queue.reset();
    this.preview.drop();
    this.session = session;
    this.everything.clear();
    this.view.times({ decode: null, everything: null });
    this.#showImage(session, bitmap);
  }

  async #bitmap({ key }) {
    const { blob } = await fetchBlob("service/preview", { headers: { ...this.client.headers, "X-Image": key } });
    return createImageBitmap(blob);
  }

  #showImage(session, bitmap) {
    const { width, height, shown } = session.image;
    this.root.style.setProperty("--ratio", width / height);
    this.stage.show({ bitmap, size: { width, height }, shown });
    this.#take(session);
  }

  /** The session expired, or the server no longer has the image: begin a new session and go on where we were. */
  async #again(file, actions = []) {
    const { prompt, model } = this.session;
    const segmented = this.everything.segments.length > 0;
    await this.client.enterAnew(model);
    if (file) {
      await this.open(file, [...(marks(prompt) ? [{ do: "restore", ...prompt }] : []), ...actions], true);
      if (segmented && this.part("message").hidden) this.message("The server no longer had the segments. Please segment everything again.");
      return;
    }
    this.stage.show({ bitmap: null, size: null });
    this.queue.reset();
    this.everything.clear();
    this.#take(EMPTY);
    this.view.state("empty");
    this.message("The session expired. Please open the image again.");
  }

  async switchModel(name) {
    const turn = this.opening;
    const before = this.root.dataset.state;
    this.everything.stop();
    this.view.state("opening", this.session.image ? "Encoding …" : "Loading the model …");
    try {
      const { headers } = this;
      const refined = choices(this.session.prompt);
      const done = await follow(`service/model/${encodeURIComponent(name)}`, { headers }, (event) => {
        if (event.waiting) this.view.status(`Waiting in the queue, place ${event.waiting} …`);
      });
      if (turn !== this.opening) return;
      if (done.session.image) this.view.times({ encode: done.encode_ms, decode: done.decode_ms });
      if (!this.queue.open.length) this.#take(done.session);
      if (refined && !choices(done.session.prompt)) {
        this.message("This model does not have the mask that you chose. Its mask follows from the marks alone.", "note");
      }
    } catch (error) {
      this.part("model").value = this.session.model ?? "";
      this.refused(error);
    }
    if (turn === this.opening) this.view.state(before);
  }

  // Prompts ---------------------------------------------------------------------------------------------------------

  act(action) {
    if (!this.session.image || this.all || this.uploading) return;
    this.view.clicked();
    this.message("");
    this.queue.push(action);
    this.redraw();
  }

  choose(index) {
    if (index >= this.session.masks.length || this.queue.open.length) return;
    this.session = { ...this.session, chosen: index };
    this.queue.push({ do: "choose", index });
    this.redraw();
  }

  #receive({ session, decode_ms }) {
    if (decode_ms !== null) this.view.times({ decode: decode_ms });
    this.#take(session);
  }

  #take(session) {
    this.session = session;
    if (session.model) this.part("model").value = session.model;
    this.view.masks(session);
    this.redraw();
  }

  /** Show why the server refused; if it no longer knows the image, give it again, and what it has not answered. */
  async refused(error, actions = []) {
    if (error.expired) {
      this.entering ??= this.#again(this.file, actions).finally(() => { this.entering = null; });
      await this.entering;
      return;
    }
    this.redraw();
    this.message(readable(error));
  }

  async save(kind) {
    try {
      await this.queue.idle();
      const body = JSON.stringify(this.everything.saved());
      const headers = { ...this.headers, "Content-Type": "application/json" };
      const { blob, name } = await fetchBlob(`service/save/${kind}`, { method: "POST", headers, body });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      this.refused(error);
    }
  }
}

/** Return an error as a sentence for the visitor. */
function readable(error) {
  const text = error instanceof Refusal ? error.message : `The server does not response (${error.message})`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
