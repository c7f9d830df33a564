// Buttons, keys, dropped and pasted files.

import { exampleImage } from "./example.js";

/** Connect the controls of a page. */
export function listen(page) {
  const { root } = page;
  const commands = {
    browse: () => page.part("file").click(),
    example: async () => page.open(await exampleImage()),
    undo: () => page.act({ do: "undo" }),
    redo: () => page.act({ do: "redo" }),
    clear: () => page.act({ do: "clear" }),
    dismiss: () => page.message(""),
    everything: () => page.everything.run(),
    cancel: () => page.everything.stop(),
    unselect: () => page.everything.select(null),
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { do: command, tool, tab, look, save } = button.dataset;
    if (command) commands[command]();
    else if (tool) choose(page, "tool", (page.stage.tool = tool));
    else if (tab) choose(page, "tab", tab);
    else if (look) choose(page, "look", (page.look = look));
    else if (save) page.save(save);
  });
  page.part("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) page.open(file);
  });
  page.part("opacity").addEventListener("input", () => page.redraw());
  page.part("model").addEventListener("change", (event) => page.switchModel(event.target.value));
  document.addEventListener("keydown", (event) => press(page, event));
  listenForFiles(page);
}

function listenForFiles(page) {
  const open = (transfer) => transfer?.files.length && page.open(transfer.files[0]);
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    page.root.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    open(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => open(event.clipboardData));
}

function press(page, event) {
  if (event.target.matches("input:not([type=range]), textarea, select") || event.altKey) return;
  const key = event.key.toLowerCase();
  const command = event.ctrlKey || event.metaKey;
  if (command && key !== "z" && key !== "y") return;
  if (key === "z") page.act({ do: event.shiftKey ? "redo" : "undo" });
  else if (key === "y") page.act({ do: "redo" });
  else if (key === "escape") escape(page);
  else if (["1", "2", "3"].includes(key)) page.choose(Number(key) - 1);
  else return;
  event.preventDefault();
}

function escape(page) {
  if (page.stage.cancelDrag()) return;
  if (page.all) page.everything.escape();
  else if (page.root.dataset.marked === "true") page.act({ do: "clear" });
}

/** Set a setting of the page, which the style sheet reads, and mark its button. */
function choose(page, name, value) {
  page.root.dataset[name] = value;
  for (const button of page.root.querySelectorAll(`button[data-${name}]`)) {
    button.setAttribute(name === "tab" ? "aria-selected" : "aria-checked", String(button.dataset[name] === value));
  }
  page.redraw();
}
