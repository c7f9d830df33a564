// The functions of a worker, which remote.js calls. They run one after another.

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

/** Run these functions when they are called. @param {Methods} methods */
export function serve(methods) {
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  addEventListener("message", ({ data }) => {
    if (data.method === "cancel") canceled.add(data.argument);
    else last = last.then(() => respond(methods, data));
  });
}

/** @param {Methods} methods @param {Call} call */
async function respond(methods, { id, method, argument }) {
  const progress = (/** @type {unknown[]} */ ...values) => postMessage({ id, progress: values });
  const isCanceled = async () => {
    await nextTurn();
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
