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
    else if (tool) chooseTool(page, tool);
    else if (tab) chooseTab(page, tab);
    else if (look) chooseLook(page, look);
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
  const fileIn = (transfer) => [...(transfer?.files ?? [])][0];
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
    const file = fileIn(event.dataTransfer);
    if (file) page.open(file);
  });
  document.addEventListener("paste", (event) => {
    const file = fileIn(event.clipboardData);
    if (file) page.open(file);
  });
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

function chooseTool(page, tool) {
  page.stage.tool = tool;
  page.root.dataset.tool = tool;
  check(page.root, "[data-tool][role=radio]", (button) => button.dataset.tool === tool);
}

function chooseTab(page, tab) {
  page.root.dataset.tab = tab;
  for (const button of page.root.querySelectorAll("[role=tab]")) {
    button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  }
  page.redraw();
}

function chooseLook(page, look) {
  page.look = look;
  check(page.root, "[data-look][role=radio]", (button) => button.dataset.look === look);
  page.redraw();
}

function check(root, selector, chosen) {
  for (const button of root.querySelectorAll(selector)) button.setAttribute("aria-checked", String(chosen(button)));
}
