// What buttons, keys, drops and pastes do.

import { examplePicture } from "./example.js";

/** Make the controls of a studio work. */
export function listen(studio) {
  const { root } = studio;
  const commands = {
    browse: () => studio.part("file").click(),
    example: async () => studio.open(await examplePicture()),
    undo: () => studio.act({ do: "undo" }),
    redo: () => studio.act({ do: "redo" }),
    clear: () => studio.act({ do: "clear" }),
    dismiss: () => studio.notice(""),
    everything: () => studio.everything.run(),
    cancel: () => studio.everything.stop(),
    unselect: () => studio.everything.select(null),
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { do: command, tool, tab, look, save } = button.dataset;
    if (command) commands[command]();
    else if (tool) chooseTool(studio, tool);
    else if (tab) chooseTab(studio, tab);
    else if (look) chooseLook(studio, look);
    else if (save) studio.save(save);
  });
  studio.part("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) studio.open(file);
  });
  studio.part("opacity").addEventListener("input", () => studio.redraw());
  studio.part("model").addEventListener("change", (event) => studio.switchModel(event.target.value));
  document.addEventListener("keydown", (event) => press(studio, event));
  listenForPictures(studio);
}

function listenForPictures(studio) {
  const pictureIn = (transfer) => [...(transfer?.files ?? [])][0];
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    studio.root.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const file = pictureIn(event.dataTransfer);
    if (file) studio.open(file);
  });
  document.addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (file) studio.open(file);
  });
}

function press(studio, event) {
  if (event.target.matches("input:not([type=range]), textarea, select") || event.altKey) return;
  const key = event.key.toLowerCase();
  const command = event.ctrlKey || event.metaKey;
  if (command && key !== "z" && key !== "y") return;
  if (key === "z") studio.act({ do: event.shiftKey ? "redo" : "undo" });
  else if (key === "y") studio.act({ do: "redo" });
  else if (key === "escape") escape(studio);
  else if (["1", "2", "3"].includes(key)) studio.choose(Number(key) - 1);
  else return;
  event.preventDefault();
}

function escape(studio) {
  if (studio.stage.cancelDrag()) return;
  if (studio.all) studio.everything.escape();
  else if (studio.root.dataset.marked === "true") studio.act({ do: "clear" });
}

function chooseTool(studio, tool) {
  studio.stage.tool = tool;
  studio.root.dataset.tool = tool;
  check(studio.root, "[data-tool][role=radio]", (button) => button.dataset.tool === tool);
}

function chooseTab(studio, tab) {
  studio.root.dataset.tab = tab;
  for (const button of studio.root.querySelectorAll("[role=tab]")) {
    button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  }
  studio.redraw();
}

function chooseLook(studio, look) {
  studio.look = look;
  check(studio.root, "[data-look][role=radio]", (button) => button.dataset.look === look);
  studio.redraw();
}

function check(root, selector, chosen) {
  for (const button of root.querySelectorAll(selector)) button.setAttribute("aria-checked", String(chosen(button)));
}
