import assert from "node:assert/strict";
import { test } from "node:test";
import { hunks } from "../src/hunks";
import type { Change } from "../src/rows";

/** A text, the whole of it anew, and each hunk as [first line, text]. */
const cases: readonly [string, string, string, readonly (readonly [number, string])[]][] = [
  ["nothing", "a\nb", "a\nb", []],
  ["one line", "a\nb\nc", "a\nB\nc", [[1, "B"]]],
  ["two places", "a\nb\nc\nd", "A\nb\nc\nD", [[0, "A"], [3, "D"]]],
  ["lines that come", "a\nb", "a\nx\ny\nb", [[1, "x\ny\n"]]],
  ["lines that come first", "a\nb", "x\na\nb", [[0, "x\n"]]],
  ["lines that come last", "a\nb", "a\nb\nx", [[1, "\nx"]]],
  ["lines that go", "a\nb\nc", "a\nc", [[1, ""]]],
  ["lines that go at the end", "a\nb\nc", "a", [[0, ""]]],
  ["a line that comes and one that goes", "a\nb\nc\nd", "x\na\nb\nc", [[0, "x\n"], [2, ""]]],
  ["all of it", "a", "b\nc", [[0, "b\nc"]]],
  ["nothing but brackets and blank lines between two", "a(\n)\n\nb", "A(\n)\n\nB", [[0, "A(\n)\n\nB"]]],
  ["a line of another writing is a word", "a\né\nb", "A\né\nB", [[0, "A"], [2, "B"]]],
];

function made(text: string, changes: readonly Change[]): string {
  const lines = text.split("\n");
  const offset = ({ line, character }: Change["range"]["start"]): number =>
    lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0) + character;
  return [...changes].reverse().reduce((written, { range, text: now }) => {
    return written.slice(0, offset(range.start)) + now + written.slice(offset(range.end));
  }, text);
}

function whole(text: string, now: string): Change {
  const lines = text.split("\n");
  return {
    range: { start: { line: 0, character: 0 }, end: { line: lines.length - 1, character: lines.at(-1)!.length } },
    text: now,
  };
}

for (const [name, text, now, expected] of cases) {
  test(`hunks: ${name}`, () => {
    const lines = text.split("\n");
    const found = hunks([whole(text, now)], (line) => lines[line]!, lines.length);
    assert.deepEqual(found.map((each) => [each.range.start.line, each.text]), expected);
    assert.equal(made(text, found), now, "all of them are the change");
  });
}

test("hunks: any of them can be made without the others", () => {
  const letters = "abcde";
  for (let seed = 1; seed <= 300; seed++) {
    let state = seed * 2654435761;
    const random = (below: number): number => (state = (state * 1103515245 + 12345) % 2147483648) % below;
    const text = Array.from({ length: 1 + random(8) }, () => letters[random(5)]!).join("\n");
    const now = Array.from({ length: 1 + random(8) }, () => letters[random(5)]!).join("\n");
    const lines = text.split("\n");
    const found = hunks([whole(text, now)], (line) => lines[line]!, lines.length);
    assert.equal(made(text, found), now);
    for (const one of found) {
      const without = made(text, found.filter((each) => each !== one)).split("\n");
      const rest = hunks([whole(without.join("\n"), now)], (line) => without[line]!, without.length);
      assert.equal(made(without.join("\n"), rest), now);
    }
  }
});

test("hunks: of two changes in the middle of lines", () => {
  const lines = ["x = 1", "y = 2", "z = 3"];
  const at = (line: number, text: string): Change => ({
    range: { start: { line, character: 4 }, end: { line, character: 5 } },
    text,
  });
  const found = hunks([at(2, "5"), at(0, "4")], (line) => lines[line]!, lines.length);
  assert.deepEqual(found.map((each) => each.text), ["x = 4", "z = 5"]);
});

test("hunks: texts that are too long to be compared are one", () => {
  const text = Array.from({ length: 1500 }, (_, line) => `a${line}`).join("\n");
  const now = Array.from({ length: 1500 }, (_, line) => (line % 2 ? `a${line}` : `b${line}`)).join("\n");
  const lines = text.split("\n");
  const found = hunks([whole(text, now)], (line) => lines[line]!, lines.length);
  assert.equal(found.length, 1);
  assert.equal(made(text, found), now);
});
