import assert from "node:assert/strict";
import { test } from "node:test";
import { around, fits, SHOWN_LINES } from "../src/protocol";
import { type Frame, frameAt, type Lane, laneAt, laneToDraw, lanes, mainLane, meanEntropy, settledShare, type Track } from "../src/recording";
import { glyphs, level, spoken } from "../src/words";

const lane = (number: number, finished = false): Lane => ({
  number, kind: "denoised", finished, holes: [[["a", 0, "p", 1, []], ["b", 1, "s", 2, []], ["c", 3, "o", 3, []]]],
});
const frame = (ms: number, ...numbers: number[]): Frame => ({ ms, step: 1, lanes: numbers.map((number) => lane(number)) });
const track: Track = { model: "", frames: [frame(10, 0, 1), frame(20, 0), frame(20, 0), frame(35, 0, 2)], outcome: null };

test("the frame of a time is the last one until then", () => {
  assert.deepEqual([0, 9.9, 10, 19, 20, 34, 35, 99].map((ms) => frameAt(track.frames, ms)), [-1, -1, 0, 0, 2, 2, 3, 3]);
  assert.equal(frameAt([], 5), -1);
});

test("a lane that was dropped is drawn as it was last, and not before it began", () => {
  assert.equal(laneAt(track, 3, 1), track.frames[0]!.lanes[1]);
  assert.equal(laneAt(track, 2, 2), null);
  assert.equal(laneAt(track, -1, 0), null);
  assert.deepEqual(lanes(track).map((each) => each.number), [0, 1, 2]);
});

test("the lane that is drawn is that of the fill on offer, if it had one", () => {
  const outcome = (number: number): Track["outcome"] => ({
    texts: ["x"], reason: "", verdict: { status: "valid", reason: "" }, treatment: "none", nfe: 1, ms: 1, settled: true, stages: [],
    candidates: [{ number, texts: ["x"], rank: 0, score: null, verdict: "valid", reason: "", chosen: true }],
  });
  assert.equal(mainLane(track), 0);
  assert.equal(mainLane({ ...track, outcome: outcome(2) }), 2);
  assert.equal(mainLane({ ...track, outcome: outcome(-1) }), 0);
  assert.equal(mainLane({ ...track, outcome: { error: "No." } }), 0);
  const late = { ...track, outcome: outcome(2) };
  assert.deepEqual([-1, 0, 2, 3].map((index) => laneToDraw(late, index)), [2, 0, 0, 2], "another one until it begins");
});

test("shares and means leave pins out", () => {
  assert.equal(settledShare(lane(0)), 0.5);
  assert.equal(meanEntropy(lane(0)), 2);
  assert.equal(settledShare({ ...lane(0), holes: [[]] }), 1);
});

test("blanks have glyphs, and words for those who listen", () => {
  assert.deepEqual(["", "\n    ", " a b", "\t"].map(glyphs), ["∅", "↵····", "·a b", "⇥"]);
  assert.deepEqual(["", "\n    ", "\n\n", " a", "  ", "\n)"].map(spoken), ["filler", "new line, 4 spaces", "2 new lines", "a", "2 spaces", "new line, )"]);
  assert.deepEqual([0, 0.05, 0.5, 1, 2, 9].map(level), [0, 1, 2, 3, 4, 5]);
});

test("a fill belongs to a document by what is around its hole", () => {
  const doc = { uri: null, name: "a.py", language: "", version: null, text: "😀\nx = old\ny", start: 6, end: 9 };
  const shown = { name: "a.py", prefix: "x = ", hole: "old", suffix: "\ny" };
  assert.ok(fits(doc, shown));
  assert.deepEqual([{ name: "b.py" }, { prefix: "y = " }, { hole: "" }, { suffix: "y" }].map((other) => fits(doc, { ...shown, ...other })), [false, false, false, false]);
});

test("holes are counted in code points, and few lines are shown around them", () => {
  assert.deepEqual(around({ text: "😀a😀b😀", start: 1, end: 2 }), ["😀", "a", "😀b😀"]);
  const lines = "x\n".repeat(100);
  const [before, , after] = around({ text: lines + lines, start: lines.length, end: lines.length });
  assert.equal(before.split("\n").length, SHOWN_LINES);
  assert.equal(after.split("\n").length, SHOWN_LINES);
});
