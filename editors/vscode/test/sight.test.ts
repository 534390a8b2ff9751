import assert from "node:assert/strict";
import { test } from "node:test";
import { direction, isHere, pointer, tabLeads, type Direction } from "../src/sight";

const EDIT = { start: { line: 5, character: 2 }, end: { line: 6, character: 0 } };

const directions: readonly [string, number, readonly [number, number][], Direction][] = [
  ["in sight", 3, [[0, 9]], "seen"],
  ["the last line in sight", 9, [[0, 9]], "seen"],
  ["further down", 10, [[0, 9]], "below"],
  ["further up", 1, [[2, 9]], "above"],
  ["folded away between what is in sight", 5, [[0, 3], [8, 12]], "seen"],
  ["an editor that tells of nothing", 5, [], "seen"],
];

for (const [name, line, spans, found] of directions) {
  test(`sight: ${name}`, () => {
    assert.equal(direction(line, spans.map(([first, last]) => ({ first, last }))), found);
  });
}

const keys: readonly [string, boolean, number, string, boolean][] = [
  ["behind code Tab leads there", true, 1, "x = ", true],
  ["in front of code it indents", true, 1, "  ", false],
  ["on an empty line it indents", true, 1, "", false],
  ["on a line of the edit it makes it", true, 5, "", true],
  ["the same line of another document is another line", false, 5, "", false],
];

for (const [name, same, line, before, leads] of keys) {
  test(`sight: ${name}`, () => assert.equal(tabLeads(EDIT, same, line, before), leads));
}

test("sight: all lines of an edit are here", () => {
  assert.deepEqual([4, 5, 6, 7].map((line) => isHere(EDIT, line)), [false, true, true, false]);
});

test("sight: a pointer counts lines as people do", () => {
  assert.equal(pointer("below", 41, "`limit` was renamed"), "↓ 42: `limit` was renamed");
  assert.equal(pointer("above", 0, "why"), "↑ 1: why");
  assert.equal(pointer("seen", 6, "why", "other.py"), "→ other.py:7: why");
});
