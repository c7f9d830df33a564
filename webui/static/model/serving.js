// The functions of a worker, which remote.js calls. They run one after another, but for quick ones, which do not wait for the end of a long one.

/**
 * @typedef {{ id: number, method: string, argument: any }} Call
 * @typedef {{ id: number, result?: unknown, error?: { name: string, message: string }, progress?: unknown[] }} Response
 *
 * @typedef {object} Context of a call
 * @property {(...values: unknown[]) => void} progress reports to the caller
 * @property {() => Promise<boolean>} isCanceled lets messages in, and returns whether the call was canceled
 *
 * @typedef {Record<string, (argument: any, context: Context) => unknown>} Methods
 */

/** @type {Set<number>} */
const canceled = new Set();
const turn = new MessageChannel();

/** @type {Call[]} */
const queue = [];

/** Run these functions when they are called. @param {Methods} methods @param {string[]} [quick] those that may run in the middle of a long one, whenever it tests whether it was canceled */
export function serve(methods, quick = []) {
  let running = false;
  addEventListener("message", async ({ data }) => {
    if (data.method === "cancel") {
      canceled.add(data.argument);
      return;
    }
    queue.push(data);
    if (running) return;
    running = true;
    for (let call = queue.shift(); call; call = queue.shift()) await respond(methods, call, quick);
    running = false;
  });
}

/** @param {Methods} methods @param {Call} call @param {string[]} quick */
async function respond(methods, { id, method, argument }, quick) {
  const progress = (/** @type {unknown[]} */ ...values) => postMessage({ id, progress: values });
  const isCanceled = async () => {
    await nextTurn();
    while (queue.length && quick.includes(queue[0].method)) await respond(methods, /** @type {Call} */ (queue.shift()), []);
    return canceled.has(id);
  };
  try {
    postMessage({ id, result: await methods[method](argument, { progress, isCanceled }) });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    postMessage({ id, error: { name, message } });
  }
  canceled.delete(id);
}

/** @returns {Promise<unknown>} */
function nextTurn() {
  return new Promise((resolve) => {
    turn.port1.onmessage = resolve;
    turn.port2.postMessage(null);
  });
}
