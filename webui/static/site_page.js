// Starts the page of a folder that `mobilesam site` wrote: the model runs in this tab.

import { register } from "./offline.js";
import { startWith } from "./page.js";
import { TabEngine } from "./tab_engine.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.body.classList.toggle("dark", dark.matches);
follow();
dark.addEventListener("change", follow);

await register();
startWith(document.querySelector(".mobilesam"), (onStatus) => new TabEngine(new URL(".", import.meta.url).href, onStatus, new URLSearchParams(location.search).has("webgpu")));
