import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";

import { Refusal } from "../static/engine.js";
import { refusalOf, ServerEngine } from "../static/server.js";

const IMAGE = { key: "cat", name: "cat.png", note: "", width: 4, height: 2, shown: { width: 4, height: 2 } };
const EXPIRED = [410, '{"error":"The session expired. Open the image again.","expired":true}'];

/** What the server answers next at a path: [status, ...parts], or parts; and what was asked. */
const replies = {};
let asked = [];
let greetings = [];
let url;

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  asked.push({ path: request.url, headers: request.headers, body });
  const parts = [...(replies[request.url]?.shift() ?? [404, "{}"])];
  if (typeof parts[0] === "number") response.statusCode = parts.shift();
  for (const part of parts) {
    response.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  response.end();
});
const stored = new Map();
globalThis.sessionStorage = { getItem: (name) => stored.get(name) ?? null, setItem: (name, value) => stored.set(name, value) };
const { fetch } = globalThis;
globalThis.fetch = (path, options) => fetch(new URL(path, url), options);
before(() => new Promise((resolve) => server.listen(0, "127.0.0.1", () => {
  url = `http://127.0.0.1:${server.address().port}`;
  resolve();
})));
after(() => server.close());
beforeEach(() => {
  for (const path of Object.keys(replies)) delete replies[path];
  stored.clear();
  asked = [];
  greetings = [];
});

/** Return an engine with a session; each greeting gives the token "token-1", "token-2" ... */
async function started() {
  const texts = [];
  const engine = new ServerEngine(async (call) => {
    greetings.push(call);
    return { token: `token-${greetings.length}`, model: "onnx", models: {}, modes: {}, samples: [], max_upload_mb: 50, image: null };
  }, (text) => texts.push(text));
  await engine.start();
  return { engine, texts };
}

const file = () => new File(["pixels"], "Kätzchen 猫.png");
const lines = (...events) => events.map((event) => `${JSON.stringify(event)}\n`);

test("an image is followed line by line, wherever the network cuts it", async () => {
  const { engine } = await started();
  replies["/service/image"] = [['{"waiting":2}\n{"ima', `ge":${JSON.stringify(IMAGE)}}\n`, '{"done":{"encode_ms":3}}\n']];
  const events = [];
  const done = await engine.open(file(), { onWaiting: (place) => events.push(place), onImage: (image) => events.push(image.key) });
  assert.deepEqual([done, events], [{ encode_ms: 3 }, [2, "cat"]]);
  assert.equal(asked[0].headers["x-session"], "token-1");
  assert.equal(decodeURIComponent(asked[0].headers["x-file-name"]), "Kätzchen 猫.png");
});

test("a session that expired is replaced, the image opened again, and the request repeated", async () => {
  const { engine, texts } = await started();
  replies["/service/image"] = [lines({ image: IMAGE }, { done: { encode_ms: 1 } }), lines({ image: IMAGE }, { done: { encode_ms: 1 } })];
  await engine.open(file());
  replies["/service/predict"] = [EXPIRED, EXPIRED, ['{"masks":[],"best":0}'], ['{"masks":[],"best":1}']];
  const prompt = { points: [[1, 1, 1]], box: null, steps: [], chosen: null };
  const both = await Promise.all([engine.predict(IMAGE, prompt), engine.predict(IMAGE, prompt)]);
  assert.deepEqual(both.map(({ best }) => best).sort(), [0, 1]);
  assert.deepEqual(greetings, [{ token: null }, { model: "onnx" }], "once for both requests");
  assert.equal(asked.at(-1).headers["x-session"], "token-2");
  assert.deepEqual(texts, ["The session expired. Uploading the image again …", ""]);
  assert.equal(stored.get("mobilesam-session"), "token-2");
});

test("without the file an expired session is an error, after a reload for example", async () => {
  const { engine } = await started();
  replies["/service/predict"] = [EXPIRED];
  await assert.rejects(engine.predict(IMAGE, {}), (error) => error instanceof Refusal && error.expired);
});

test("a preview under the pointer is not repeated", async () => {
  const { engine } = await started();
  replies["/service/predict"] = [EXPIRED];
  await assert.rejects(engine.predict(IMAGE, {}, { hover: true }), Refusal);
  assert.equal(greetings.length, 1);
});

test("an aborted run asks the server to stop and returns its segments so far", async () => {
  const { engine } = await started();
  const stop = new AbortController();
  replies["/service/everything"] = [lines({ progress: { done: 1, total: 4, candidates: 7 } }, { done: { segments: [], partial: true, ms: 1, run: 1 } })];
  replies["/service/cancel"] = [["{}"]];
  const shares = [];
  const run = await engine.everything(IMAGE, "fast", { signal: stop.signal, onProgress: (share) => { shares.push(share); stop.abort(); } });
  assert.deepEqual([run.partial, shares], [true, [0.25]]);
  while (!asked.some(({ path }) => path === "/service/cancel")) await new Promise((resolve) => setImmediate(resolve));
});

test("a saved file has the name that the server gave it", async () => {
  const named = createServer((request, response) => {
    response.setHeader("content-disposition", "attachment; filename*=UTF-8''K%C3%A4tzchen%20%E7%8C%AB.mask.png");
    response.end("content");
  });
  await new Promise((resolve) => named.listen(0, "127.0.0.1", resolve));
  const { engine } = await started();
  const here = url;
  url = `http://127.0.0.1:${named.address().port}`;
  const { blob, name } = await engine.save(IMAGE, "mask", { objects: [] });
  url = here;
  assert.deepEqual([name, await blob.text()], ["Kätzchen 猫.mask.png", "content"]);
  named.close();
});

test("what a proxy or a server that is down answers is said plainly", async () => {
  assert.equal(refusalOf("<html>413</html>", 413).message, "The file is too large for the server or for a proxy before it. Open a smaller one.");
  assert.equal(refusalOf("<html>Bad gateway</html>", 502).message, "The proxy does not reach the server. Try again in a moment.");
  assert.equal(refusalOf("[]", 500).message, "The server refused the request with status 500. Try again.");
  assert.equal(refusalOf('{"error":"too large"}', 413).message, "too large");
  const { engine } = await started();
  replies["/service/image"] = [lines({ waiting: 1 }), lines({ waiting: 1 }, { error: "not an image", expired: false })];
  await assert.rejects(engine.open(file()), { message: "The connection was closed before the response was complete. Try again." });
  await assert.rejects(engine.open(file()), { message: "not an image" });
  const here = url;
  url = "http://127.0.0.1:9";
  await assert.rejects(engine.predict(IMAGE, {}), { message: "The server does not respond. Check that it is running and try again." });
  const down = new ServerEngine(() => Promise.reject(new TypeError("undefined")), () => {});
  await assert.rejects(down.start(), { message: "The server does not respond. Check that it is running and try again." });
  url = here;
});
