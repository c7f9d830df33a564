import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { ActionQueue, fetchBlob, follow, Refusal } from "../static/transport.js";

/** A server that responds on request. */
function held() {
  const calls = [];
  const send = (actions) => new Promise((resolve, reject) => calls.push({ actions, resolve, reject }));
  return { calls, send };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("actions that gather during a request are sent as one bundle, in order", async () => {
  const { calls, send } = held();
  const responses = [];
  const queue = new ActionQueue(send, (response) => responses.push(response), assert.fail);
  for (let number = 0; number < 100; number++) queue.push(number);
  assert.deepEqual(calls.map(({ actions }) => actions), [[0]]);
  assert.equal(queue.open.length, 100);
  calls[0].resolve("first");
  await turn();
  assert.deepEqual(calls[1].actions, [...Array(99).keys()].map((number) => number + 1));
  calls[1].resolve("second");
  await turn();
  assert.deepEqual(responses, ["first", "second"]);
  assert.deepEqual(queue.open, []);
});

test("after an error the queue goes on and reports the failed actions", async () => {
  const { calls, send } = held();
  const errors = [];
  const queue = new ActionQueue(send, () => {}, (error, actions) => errors.push([error.message, actions]));
  queue.push("a");
  queue.push("b");
  calls[0].reject(new Error("no"));
  await turn();
  assert.deepEqual(errors, [["no", ["a"]]]);
  assert.deepEqual(calls[1].actions, ["b"]);
});

test("a response to an earlier image is dropped", async () => {
  const { calls, send } = held();
  const responses = [];
  const queue = new ActionQueue(send, (response) => responses.push(response), assert.fail);
  queue.push("old");
  queue.reset();
  queue.push("new");
  calls[0].resolve("old response");
  calls[1].resolve("new response");
  await turn();
  assert.deepEqual(responses, ["new response"]);
});

const REPLIES = {
  "/run": ['{"waiting":2}\n{"prog', 'ress":1}\n', '{"done":{"ms":3}}\n'],
  "/refused": ['{"waiting":1}\n', '{"error":"too large","expired":false}\n'],
  "/expired": [410, '{"error":"The session expired.","expired":true}'],
  "/broken": [500, "Internal Server Error"],
  "/cut": ['{"waiting":1}\n'],
};
let url;
const server = createServer(async (request, response) => {
  const parts = [...REPLIES[request.url]];
  if (typeof parts[0] === "number") response.statusCode = parts.shift();
  for (const part of parts) {
    response.write(part);
    await turn();
  }
  response.end();
});
before(() => new Promise((resolve) => server.listen(0, "127.0.0.1", () => {
  url = `http://127.0.0.1:${server.address().port}`;
  resolve();
})));
after(() => server.close());

test("a long run is followed line by line, wherever the network cuts it", async () => {
  const events = [];
  assert.deepEqual(await follow(`${url}/run`, {}, (event) => events.push(event)), { ms: 3 });
  assert.deepEqual(events, [{ waiting: 2 }, { progress: 1 }]);
});

test("an error of the server is a Refusal, and a broken connection is not", async () => {
  await assert.rejects(follow(`${url}/refused`, {}, () => {}), (error) => error instanceof Refusal && error.message === "too large" && !error.expired);
  await assert.rejects(follow(`${url}/expired`, {}, () => {}), (error) => error instanceof Refusal && error.expired);
  await assert.rejects(follow(`${url}/broken`, {}, () => {}), { message: "the server refused the request (status 500)" });
  await assert.rejects(follow(`${url}/cut`, {}, () => {}), { message: "the connection was closed before the response was complete" });
  await assert.rejects(fetchBlob(`${url}/expired`, {}), (error) => error instanceof Refusal && error.expired);
});

test("a download has the name that the server gave it", async () => {
  const named = createServer((request, response) => {
    response.setHeader("content-disposition", "attachment; filename*=UTF-8''K%C3%A4tzchen%20%E7%8C%AB.mask.png");
    response.end("content");
  });
  await new Promise((resolve) => named.listen(0, "127.0.0.1", resolve));
  const { blob, name } = await fetchBlob(`http://127.0.0.1:${named.address().port}/`, {});
  assert.equal(name, "Kätzchen 猫.mask.png");
  assert.equal(await blob.text(), "content");
  named.close();
});
