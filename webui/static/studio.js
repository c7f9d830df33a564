// The page: keeps what the server last said, and shows it.

import { Everything } from "./everything.js";
import { examplePicture } from "./example.js";
import { Layer } from "./masks.js";
import { Stage } from "./stage.js";
import { fetchBlob, follow, Line, Refusal } from "./transport.js";

const COLOR = [46, 125, 255];
const VISIT = "mobilesam-visit";
const PREVIEW_EVERY = 120; // milliseconds between questions while the pointer moves
const EMPTY = { picture: null, prompt: { points: [], box: null }, masks: [], chosen: 0, undo: false, redo: false };

/** Make the page work: `root` is its element, `server` holds the server functions. */
export function start(root, server) {
  if (!root.studio) root.studio = new Studio(root, server);
}

class Studio {
  constructor(root, server) {
    this.root = root;
    this.server = server;
    this.session = EMPTY;
    this.look = "overlay";
    this.file = null; // the picture as the visitor gave it, to open it again if the server forgot it
    this.limits = { max_upload_mb: Infinity };
    this.opening = 0;
    this.uploading = false;
    this.layers = [];
    this.afterPaint = [];
    this.clickedAt = null;
    this.preview = null; // the mask under the pointer
    this.hovered = null;
    this.asking = false;
    this.line = new Line(
      (actions) => this.#call("act", { actions }),
      (answer) => this.#answered(answer),
      (error, actions) => this.refused(error, actions),
    );
    this.stage = new Stage(this.part("canvas"), {
      point: (pixel, label) => (this.all ? this.everything.toggle(pixel) : this.act({ do: "point", ...pixel, label })),
      box: (box) => this.act({ do: "box", box }),
      hover: (pixel) => (this.all ? this.everything.hover(pixel) : this.#hover(pixel)),
      painted: () => this.#painted(),
    });
    this.everything = new Everything(this);
    this.#listen();
    this.#hello();
  }

  /** Whether everything mode is in front. */
  get all() {
    return this.root.dataset.tab === "everything";
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  // Server ----------------------------------------------------------------------------------------------------------

  async #hello() {
    try {
      const answer = await this.server.hello({ token: sessionStorage.getItem(VISIT) });
      this.token = answer.token;
      sessionStorage.setItem(VISIT, this.token);
      this.limits = answer;
      this.part("model").replaceChildren(
        ...Object.entries(answer.models).map(([name, label]) => new Option(label, name)),
      );
      this.everything.offer(answer.presets ?? {});
      if (answer.session.picture) this.#showPicture(answer.session, await this.#bitmap());
      else this.#take(answer.session);
      this.#state(this.session.picture ? "ready" : "empty");
    } catch (error) {
      this.#state("empty");
      this.notice(`The server does not answer: ${error.message}. Reload the page to try again.`);
    }
  }

  get headers() {
    return { "X-Visitor": this.token };
  }

  async #call(name, fields) {
    const answer = await this.server[name]({ token: this.token, ...fields });
    if (answer.error) throw new Refusal(answer);
    return answer;
  }

  /** Open a picture; until the server has read it, the earlier one stays. */
  async open(file, actions = [], again = false) {
    if (file.size > this.limits.max_upload_mb * 1e6) {
      const size = Math.round(file.size / 1e6);
      this.notice(`${file.name} has ${size} MB; this server takes at most ${this.limits.max_upload_mb} MB.`);
      return;
    }
    const turn = ++this.opening;
    const before = this.session.picture ? "ready" : "empty";
    let shown = null;
    this.uploading = true; // clicks on the earlier picture would come to the new one
    this.notice("");
    this.#state("opening", "Uploading …");
    try {
      const headers = { ...this.headers, "X-File-Name": encodeURIComponent(file.name || "picture") };
      const done = await follow("studio/picture", { body: file, headers }, (event) => {
        if (turn !== this.opening) return;
        if (event.waiting) this.#status(`Waiting in line, place ${event.waiting} …`);
        if (event.picture) shown = this.#begin(file, event.picture, turn);
      });
      await shown;
      if (turn !== this.opening) return;
      this.times({ encode: done.encode_ms });
      if (!this.line.open.length && !this.session.masks.length) this.#take(done.session);
      this.#state("ready");
      this.notice(done.session.picture.note);
      for (const action of actions) this.act(action);
    } catch (error) {
      if (turn !== this.opening) return;
      this.uploading = false;
      this.#state(before);
      if (error.gone && !again) await this.#again(file);
      else this.notice(`${file.name}: ${this.#readable(error)}`);
    }
  }

  /** Show a picture that the server has read and now encodes, and forget what belongs to the earlier one. */
  async #begin(file, session, turn) {
    this.#status("Encoding …");
    const bitmap = await this.#bitmap();
    if (turn !== this.opening) return;
    this.file = file;
    this.uploading = false;
    this.line.reset();
    this.preview = null;
    this.session = session;
    this.everything.clear();
    this.#showPicture(session, bitmap);
  }

  /** The server was restarted, or forgot this visit: come in anew and go on where we were. */
  async #again(file, actions = []) {
    const { prompt } = this.session;
    const first = prompt.points.length || prompt.box ? [{ do: "restore", ...prompt }] : [];
    sessionStorage.removeItem(VISIT);
    const answer = await this.server.hello({ token: null });
    this.token = answer.token;
    sessionStorage.setItem(VISIT, this.token);
    if (file) {
      await this.open(file, [...first, ...actions], true);
      return;
    }
    this.#take(EMPTY);
    this.stage.show({ bitmap: null, size: null });
    this.#state("empty");
    this.notice("The server was restarted and no longer has the picture. Please open it again.");
  }

  async switchModel(name) {
    this.line.reset();
    this.everything.stop();
    if (!this.session.picture) return;
    this.#state("opening", "Encoding …");
    try {
      const done = await follow(`studio/model/${encodeURIComponent(name)}`, { headers: this.headers }, (event) => {
        if (event.waiting) this.#status(`Waiting in line, place ${event.waiting} …`);
      });
      this.times({ encode: done.encode_ms });
      this.#take(done.session);
    } catch (error) {
      this.part("model").value = this.session.model;
      this.notice(this.#readable(error));
    }
    this.#state("ready");
  }

  act(action) {
    if (!this.session.picture || this.all || this.uploading) return;
    this.clickedAt = performance.now();
    this.notice("");
    this.line.push(action);
    this.#draw();
  }

  /** Preview the mask under the pointer while nothing is marked; one question at a time, and not too many. */
  async #hover(pixel) {
    this.hovered = pixel;
    if (!pixel || !this.#previews()) {
      if (this.preview) {
        this.preview = null;
        this.#draw();
      }
      return;
    }
    if (this.asking) return;
    this.asking = true;
    while (this.hovered && this.#previews()) {
      const asked = this.hovered;
      const [answer] = await Promise.all([
        this.server.hover({ token: this.token, ...asked }).catch(() => ({})),
        new Promise((resolve) => setTimeout(resolve, PREVIEW_EVERY)),
      ]);
      if (!this.hovered || !this.#previews()) break;
      this.preview = answer.rle ? new Layer(answer.rle, this.session.picture.shown, COLOR) : null;
      this.#draw();
      if (this.hovered === asked) break;
    }
    this.asking = false;
  }

  #previews() {
    const ready = this.root.dataset.state === "ready" && this.root.dataset.tool !== "background" && !this.stage.drag;
    return ready && !this.all && this.root.dataset.marked !== "true" && ["overlay", "outline"].includes(this.look);
  }

  choose(index) {
    if (index >= this.session.masks.length || this.line.open.length) return;
    this.session = { ...this.session, chosen: index };
    this.line.push({ do: "choose", index });
    this.#draw();
  }

  #answered({ session, ms }) {
    this.times({ mask: ms });
    this.#take(session);
  }

  async refused(error, actions = []) {
    if (error.gone) {
      await this.#again(this.file, actions);
      return;
    }
    this.#draw();
    this.notice(this.#readable(error));
  }

  #readable(error) {
    const text = error instanceof Refusal ? error.message : `The server does not answer (${error.message})`;
    return text.charAt(0).toUpperCase() + text.slice(1);
  }

  async save(kind) {
    try {
      const body = JSON.stringify(this.everything.saved(kind));
      const headers = { ...this.headers, "Content-Type": "application/json" };
      const { blob, name } = await fetchBlob(`studio/save/${kind}`, { method: "POST", headers, body });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      if (error.gone) await this.#again(this.file);
      else this.notice(this.#readable(error));
    }
  }

  // What is shown ---------------------------------------------------------------------------------------------------

  async #bitmap() {
    const { blob } = await fetchBlob("studio/preview", { headers: this.headers });
    return createImageBitmap(blob);
  }

  #showPicture(session, bitmap) {
    const { width, height, shown } = session.picture;
    this.root.style.setProperty("--ratio", width / height);
    this.stage.show({ bitmap, size: { width, height }, shown });
    this.#take(session);
  }

  #take(session) {
    this.session = session;
    const { masks, picture, chosen } = session;
    this.layers = masks.map(({ rle }) => new Layer(rle, picture.shown, COLOR));
    if (session.model) this.part("model").value = session.model;
    this.#candidates(masks, chosen);
    this.#draw();
  }

  /** The prompt with what is under way, so that a mark appears with the click. */
  #expected() {
    let { points, box } = this.session.prompt;
    for (const action of this.line.open) {
      if (action.do === "point") points = [...points, [action.x, action.y, action.label]];
      else if (action.do === "box") box = action.box;
      else if (action.do === "clear") [points, box] = [[], null];
    }
    return { points, box };
  }

  redraw() {
    this.#draw();
  }

  #draw() {
    const { masks, chosen, undo, redo } = this.session;
    const everything = this.all;
    const expected = everything ? { points: [], box: null } : this.#expected();
    const marked = expected.points.length > 0 || expected.box !== null;
    const layer = this.layers[chosen];
    if (marked) this.preview = null;
    const one = marked ? [layer].filter(Boolean) : [this.preview].filter(Boolean);
    const { layers, outlined, back } = everything ? this.everything.layers() : { layers: one, outlined: one };
    const plain = this.look === "mask" || this.look === "cutout";
    this.stage.show({
      look: this.look,
      opacity: this.part("opacity").value / 100,
      layers,
      back: marked ? back : this.preview ?? back,
      outlined: plain ? [] : outlined,
      points: plain ? [] : expected.points,
      box: plain ? null : expected.box,
    });
    this.root.dataset.marked = String(marked);
    this.root.dataset.look = this.look;
    this.#enable("undo", undo || this.line.open.length);
    this.#enable("redo", redo);
    this.#enable("clear", marked);
    this.part("mask-hint").hidden = masks.length > 0;
    for (const [index, button] of [...this.part("candidates").children].entries()) {
      button.setAttribute("aria-checked", String(index === chosen));
    }
    for (const button of this.root.querySelectorAll("[data-save]")) {
      button.disabled = everything
        ? !this.everything.segments.length || button.dataset.save === "prompts"
        : !masks.length;
    }
    this.part("save-title").textContent = everything ? this.everything.title() : "Save";
  }

  #enable(name, possible) {
    for (const button of this.root.querySelectorAll(`[data-do="${name}"]`)) button.disabled = !possible;
  }

  #candidates(masks, chosen) {
    this.afterPaint = [];
    const buttons = masks.map(({ score }, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(index === chosen));
      const layer = this.layers[index];
      const canvas = document.createElement("canvas");
      this.afterPaint.push(() => layer === this.layers[index] && this.#thumbnail(canvas, layer.canvas));
      button.append(canvas);
      const text = document.createElement("span");
      text.textContent = Math.min(1, score).toFixed(2);
      text.title = "How well the model thinks the mask fits, 0 to 1";
      button.append(text);
      button.addEventListener("click", () => this.choose(index));
      return button;
    });
    this.part("candidates").replaceChildren(...buttons);
  }

  #thumbnail(canvas, mask) {
    const scale = Math.min(1, 160 / Math.max(mask.width, mask.height));
    canvas.width = Math.max(1, Math.round(mask.width * scale));
    canvas.height = Math.max(1, Math.round(mask.height * scale));
    const context = canvas.getContext("2d");
    const { bitmap } = this.stage.scene;
    if (bitmap) {
      context.globalAlpha = 0.35;
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 0.85;
    }
    context.drawImage(mask, 0, 0, canvas.width, canvas.height);
  }

  /** Note when a mask that answers a click is on the canvas, and then do what was put off. */
  #painted() {
    const later = this.afterPaint.splice(0);
    if (later.length) setTimeout(() => later.forEach((task) => task()));
    if (this.clickedAt === null || this.line.open.length || !this.session.masks.length) return;
    this.root.dataset.paintedMs = (performance.now() - this.clickedAt).toFixed(1);
    this.clickedAt = null;
  }

  times(changes) {
    this.clock = { ...this.clock, ...changes };
    const parts = Object.entries(this.clock)
      .filter(([, ms]) => ms > 0)
      .map(([name, ms]) => `${name} ${ms < 9950 ? `${ms < 100 ? ms.toFixed(0) : Math.round(ms / 10) * 10} ms` : `${(ms / 1000).toFixed(0)} s`}`);
    this.part("timing").textContent = parts.join("  ·  ");
  }

  #state(state, text = "") {
    this.root.dataset.state = state;
    this.#status(text);
  }

  #status(text) {
    this.part("status").textContent = text;
  }

  notice(text) {
    this.part("notice-text").textContent = text;
    this.part("notice").hidden = !text;
  }

  // Input -----------------------------------------------------------------------------------------------------------

  #listen() {
    const { root } = this;
    const commands = {
      browse: () => this.part("file").click(),
      example: async () => this.open(await examplePicture()),
      undo: () => this.act({ do: "undo" }),
      redo: () => this.act({ do: "redo" }),
      clear: () => this.act({ do: "clear" }),
      dismiss: () => this.notice(""),
      everything: () => this.everything.run(),
      cancel: () => this.everything.stop(),
      unselect: () => this.everything.select(null),
    };
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { do: command, tool, tab, look, save } = button.dataset;
      if (command) commands[command]();
      else if (tool) this.#tool(tool);
      else if (tab) this.#tab(tab);
      else if (look) this.#look(look);
      else if (save) this.save(save);
    });
    this.part("file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.open(file);
    });
    this.part("opacity").addEventListener("input", () => this.#draw());
    this.part("model").addEventListener("change", (event) => this.switchModel(event.target.value));
    this.#listenForPictures();
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #listenForPictures() {
    const pictureIn = (transfer) => [...(transfer?.files ?? [])][0];
    let depth = 0;
    const over = (change) => {
      depth = Math.max(0, depth + change);
      this.root.classList.toggle("dropping", depth > 0);
    };
    document.addEventListener("dragenter", () => over(1));
    document.addEventListener("dragleave", () => over(-1));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-depth);
      const file = pictureIn(event.dataTransfer);
      if (file) this.open(file);
    });
    document.addEventListener("paste", (event) => {
      const file = pictureIn(event.clipboardData);
      if (file) this.open(file);
    });
  }

  #key(event) {
    if (event.target.matches("input:not([type=range]), textarea, select") || event.altKey) return;
    const key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey;
    if (command && key !== "z" && key !== "y") return;
    if (key === "z") this.act({ do: event.shiftKey ? "redo" : "undo" });
    else if (key === "y") this.act({ do: "redo" });
    else if (key === "escape") this.#escape();
    else if (["1", "2", "3"].includes(key)) this.choose(Number(key) - 1);
    else return;
    event.preventDefault();
  }

  #escape() {
    if (this.stage.cancelDrag()) return;
    if (this.all) this.everything.escape();
    else if (this.root.dataset.marked === "true") this.act({ do: "clear" });
  }

  #tool(tool) {
    this.stage.tool = tool;
    this.root.dataset.tool = tool;
    this.#check("[data-tool][role=radio]", (button) => button.dataset.tool === tool);
  }

  #tab(tab) {
    this.root.dataset.tab = tab;
    for (const button of this.root.querySelectorAll("[role=tab]")) {
      button.setAttribute("aria-selected", String(button.dataset.tab === tab));
    }
    this.#draw();
  }

  #look(look) {
    this.look = look;
    this.#check("[data-look][role=radio]", (button) => button.dataset.look === look);
    this.#draw();
  }

  #check(selector, chosen) {
    for (const button of this.root.querySelectorAll(selector)) button.setAttribute("aria-checked", String(chosen(button)));
  }
}
