import assert from "node:assert/strict";
import { test } from "node:test";
import { type Edit, type Piece, pieces } from "../src/edits";
import type { Slot } from "../src/recording";

const SLOTS: Slot[] = [
  ["def", 0, "p", 1, []],
  [" f", 0.1, "s", 2, [[" f", 0.9, 2], [" g", 0.1, 3]]],
  ["(", 2, "o", 4, []],
  [")", 2, "o", 5, []],
  ["", 0.1, "s", 0, []],
];
const PINNED: Piece = { state: "pinned", text: "def", slots: 0, key: 1 };
const PRESENT: Piece = { state: "present", text: " f", slots: 0, key: 2 };
const FILLER: Piece = { state: "present", text: "", slots: 0, key: 0 };
const noise = (slots: number): Piece => ({ state: "noise", text: "", slots, key: null });

const cases: [name: string, edits: [number, Edit][], expected: Piece[]][] = [
  ["nothing is changed", [], [PINNED, PRESENT, noise(2), FILLER]],
  ["renoised slots join the open ones", [[1, { kind: "noise" }]], [PINNED, noise(3), FILLER]],
  ["even a pin can be renoised", [[0, { kind: "noise" }]], [noise(1), PRESENT, noise(2), FILLER]],
  ["a pin keeps its key", [[1, { kind: "pin" }]], [PINNED, { ...PRESENT, state: "pinned" }, noise(2), FILLER]],
  [
    "a choice has its own key",
    [[1, { kind: "take", choice: [" g", 0.1, 3] }]],
    [PINNED, { state: "pinned", text: " g", slots: 0, key: 3 }, noise(2), FILLER],
  ],
  [
    "written text has none",
    [[2, { kind: "write", text: "(self" }]],
    [PINNED, PRESENT, { state: "pinned", text: "(self", slots: 0, key: null }, noise(1), FILLER],
  ],
];

for (const [name, edits, expected] of cases) {
  test(name, () => assert.deepEqual(pieces(SLOTS, new Map(edits)), expected));
}
