import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTHING, withPoint } from "../static/prompt.js";
import * as states from "../static/state.js";

const IMAGE = { key: "cat", name: "cat.png", note: "", width: 4, height: 2, shown: { width: 4, height: 2 } };
const OTHER = { ...IMAGE, key: "dog" };
const frozen = (rle = "") => ({ segmentation: { size: [2, 4], counts: "" }, area: 1, rle });
const opened = () => ({ ...states.show(states.INITIAL, IMAGE, null), phase: "ready" });
const marked = (state, ...points) => points.reduce((each, point) => states.change(each, { prompt: withPoint(each.doc.prompt, point) }), state);
const rle = (...runs) => Buffer.from(runs).toString("base64");
const mask = (index, runs, predicted_iou = 0.5) => ({ index, predicted_iou, confidence: null, rle: rle(...runs) });
const decoded = (state, masks, best = 0) => ({ ...state, decoded: { prompt: state.doc.prompt, clean: state.clean, model: state.model, prediction: { masks, best, decode_ms: 1, refined: true } } });

test("undo and redo go through marks, kept objects, labels and removals", () => {
  let state = marked(opened(), [1, 1, 1]);
  const seen = [state.doc];
  state = states.keep(state, frozen(), "coin");
  seen.push(state.doc);
  state = marked(state, [2, 1, 1]);
  seen.push(state.doc);
  state = states.keep(state, frozen(), "cup");
  seen.push(state.doc);
  state = states.rename(state, 2, "mug");
  seen.push(state.doc);
  state = states.remove(state, 1);
  assert.deepEqual(state.doc.objects.map(({ id, label }) => [id, label]), [[2, "mug"]]);
  const last = state;
  for (const doc of [...seen].reverse()) {
    state = states.undo(state);
    assert.equal(state.doc, doc);
  }
  state = states.undo(states.undo(states.undo(state)));
  assert.equal(state.doc.prompt, NOTHING);
  for (let turn = 0; turn < 20; turn++) state = states.redo(state);
  assert.equal(state.doc, last.doc);
});

test("a change ends what could be redone", () => {
  const state = marked(states.undo(marked(opened(), [1, 1, 1], [2, 1, 1])), [3, 1, 1]);
  assert.deepEqual(state.doc.prompt.points, [[1, 1, 1], [3, 1, 1]]);
  assert.equal(states.redo(state), state);
});

test("an object that is edited gets its prompt back and keeps its place, number and color", () => {
  let state = states.keep(marked(opened(), [1, 1, 1]), frozen("one"), "coin");
  state = states.keep(marked(state, [2, 1, 1]), frozen("two"), "coin");
  const { color } = state.doc.objects[0];
  state = states.edit(state, 1);
  assert.deepEqual([state.doc.prompt.points, state.doc.editing], [[[1, 1, 1]], 1]);
  state = states.keep(marked(state, [3, 1, 0]), frozen("new"), "coin");
  assert.deepEqual(state.doc.objects.map((object) => [object.id, object.mask.rle]), [[1, "new"], [2, "two"]]);
  assert.deepEqual(state.doc.objects[0].color, color);
  assert.equal(state.doc.editing, null);
  const cleared = states.clear(states.edit(state, 2));
  assert.deepEqual([cleared.doc.editing, cleared.doc.objects.length], [null, 2], "clear leaves the object as it was");
  assert.equal(states.remove(states.edit(state, 2), 2).doc.editing, null);
});

test("segments are kept without a prompt, in colors of their own", () => {
  const state = states.keepSegments({ ...opened(), selected: [4, 7, 9] }, [4, 7], [frozen("a"), frozen("b")], "leaf");
  assert.deepEqual(state.doc.objects.map(({ label, prompt }) => [label, prompt]), [["leaf", null], ["leaf", null]]);
  assert.notDeepEqual(state.doc.objects[0].color, state.doc.objects[1].color);
  assert.deepEqual(state.selected, [9], "what was selected meanwhile stays");
  assert.equal(states.edit(state, 1), state, "there is no prompt to edit");
});

test("labels are offered once each, the last one first", () => {
  let state = opened();
  for (const label of ["coin", "cup", "coin", ""]) state = states.keep(marked(state, [1, 1, 1]), frozen(), label);
  assert.deepEqual(states.labelsOf(state), ["coin", "cup"]);
});

test("candidates go from the smallest to the largest, whatever the order of the decoder", () => {
  const state = decoded(marked(opened(), [1, 1, 1]), [mask(1, [0, 3]), mask(0, [2, 1]), mask(3, [0, 8])], 0);
  const names = states.candidatesOf(state).map(({ mask: { index }, name, suggested, chosen }) => [index, name, suggested, chosen]);
  assert.deepEqual(names, [[0, "Part", false, false], [1, "Whole", true, true], [3, "Larger", false, false]]);
  const other = states.choose(state, 3);
  assert.deepEqual(states.candidatesOf(other).map(({ suggested, chosen }) => [suggested, chosen]), [[false, false], [true, false], [false, true]]);
  assert.equal(states.isDecoded(other), true, "a choice needs no other masks");
  assert.equal(states.maskOf(other).index, 3);
  assert.equal(states.choose(other, 3), other);
});

test("masks of one object are never shown for another", () => {
  const one = decoded(marked(opened(), [1, 1, 1]), [mask(0, [0, 1])]);
  assert.equal(states.maskOf(marked(one, [2, 1, 0])).index, 0, "they stay while the prompt is refined");
  const next = marked(states.keep(one, frozen(), "coin"), [3, 1, 1]);
  assert.equal(states.maskOf(next), null);
  assert.equal(states.maskOf(states.edit(decoded(next, [mask(3, [0, 2])]), 1)), null);
  assert.equal(states.maskOf(states.undo(states.undo(next))), null);
  assert.equal(states.maskOf(states.change(states.clear(one), { prompt: { ...NOTHING, box: [0, 0, 1, 1] } })), null);
});

test("masks are asked for where the prompt, the model or the cleaning has changed", () => {
  const state = decoded(marked(opened(), [1, 1, 1]), [mask(0, [0, 1])]);
  assert.equal(states.needsMasks(state), false);
  assert.equal(states.needsMasks(marked(state, [2, 1, 1])), true);
  assert.equal(states.needsMasks({ ...state, clean: true }), true);
  assert.equal(states.needsMasks({ ...state, model: "other" }), true);
  assert.equal(states.needsMasks({ ...state, clean: true, phase: "encoding" }), false);
  assert.equal(states.needsMasks(marked(opened(), [1, 1, 0])), false, "background alone waits for the object");
  assert.deepEqual(states.candidatesOf(states.clear(state)), []);
});

test("a prompt whose masks could not be decoded has failed, until it changes", () => {
  const failed = decoded(marked(opened(), [1, 1, 1]), []);
  assert.equal(states.hasFailed(failed), true);
  assert.equal(states.needsMasks(failed), false, "it is not requested again by itself");
  assert.equal(states.hasFailed(marked(failed, [2, 1, 1])), false);
  assert.equal(states.hasFailed(states.clear(failed)), false);
});

test("another image starts anew, and the same one does not", () => {
  const state = states.keep(marked(opened(), [1, 1, 1]), frozen(), "coin");
  assert.deepEqual(states.show(state, OTHER, null).doc, states.EMPTY_DOC);
  assert.equal(states.show(state, IMAGE, null).doc, state.doc);
});

test("a segment is selected and unselected, and sorting keeps what is selected", () => {
  const run = { run: 1, partial: false, ms: 1, segments: [{ area: 3, predicted_iou: 0.2 }, { area: 9, predicted_iou: 0.1 }] };
  let state = states.select({ ...opened(), run }, 0);
  assert.deepEqual(states.segmentOrder(state), [1, 0]);
  assert.deepEqual(states.segmentOrder({ ...state, sort: "predicted_iou" }), [0, 1]);
  assert.deepEqual(state.selected, [0]);
  state = states.select(states.select(state, 1), 0);
  assert.deepEqual(state.selected, [1]);
  assert.deepEqual(states.select(state, null).selected, []);
});

test("colors of the first objects are all different", () => {
  const colors = Array.from({ length: 40 }, (_, index) => states.colorOfId(index + 1));
  assert.equal(new Set(colors.map(String)).size, 40);
  assert.ok(colors.flat().every((channel) => Number.isInteger(channel) && channel >= 0 && channel <= 255));
});
