// Registers service_worker.js, with which a page works offline, and is isolated on hosts that send no headers for it.

import { keep, kept } from "./session_storage.js";

const RELOADED = "mobilesam reloaded"; // in the session of the tab

/**
 * Register the service worker of a folder of `mobilesam site`, before the model is loaded. The page is reloaded once
 * where that isolates it. Without service workers, as on insecure pages, the page works as before.
 * @param {string | URL} [base] the address of the folder; by default that of this script
 */
export async function register(base = new URL(".", import.meta.url)) {
  if (!navigator.serviceWorker) return;
  try {
    const { installing, waiting, active } = await navigator.serviceWorker.register(new URL("service_worker.js", base));
    await activated(installing ?? waiting ?? active);
  } catch {
    return; // refused, as in some private windows, or offline
  }
  if (globalThis.crossOriginIsolated) {
    keep(RELOADED, null);
  } else if (navigator.serviceWorker.controller && !kept(RELOADED) && keep(RELOADED, "yes")) {
    location.reload();
    await new Promise(() => {}); // nothing is loaded twice
  }
}

/** Wait until a worker controls pages, or failed. @param {ServiceWorker | null} worker */
async function activated(worker) {
  await new Promise((resolve) => {
    const check = () => {
      if (!worker || ["activated", "redundant"].includes(worker.state)) resolve(null);
    };
    worker?.addEventListener("statechange", check);
    check();
  });
}
