import assert from "node:assert/strict";
import { test } from "node:test";
import { rows, type Change, type Row } from "../src/rows";

/** Changes written as [line, character, line, character, text]. */
type Written = readonly [number, number, number, number, string];

function change([startLine, start, endLine, end, text]: Written): Change {
  return { range: { start: { line: startLine, character: start }, end: { line: endLine, character: end } }, text };
}

const cases: readonly [string, readonly string[], readonly Written[], readonly Row[]][] = [
  ["nothing", ["a"], [], []],
  ["what is there already", ["abc"], [[0, 0, 0, 3, "abc"]], []],
  [
    "within a line, no more than differs",
    ["return x + 1"],
    [[0, 7, 0, 12, "y + 1"]],
    [{ kind: "replaced", line: 0, start: 7, end: 8, text: "y" }],
  ],
  [
    "a part of a word is the whole word",
    ["    total_count = 1"],
    [[0, 4, 0, 15, "total_price"]],
    [{ kind: "replaced", line: 0, start: 4, end: 15, text: "total_price" }],
  ],
  [
    "the beginning of a word",
    ["f(first)"],
    [[0, 2, 0, 7, "worst"]],
    [{ kind: "replaced", line: 0, start: 2, end: 7, text: "worst" }],
  ],
  [
    "more of a word",
    ["x = item"],
    [[0, 4, 0, 8, "items"]],
    [{ kind: "replaced", line: 0, start: 4, end: 8, text: "items" }],
  ],
  ["put in", ["ab"], [[0, 1, 0, 1, "-"]], [{ kind: "replaced", line: 0, start: 1, end: 1, text: "-" }]],
  [
    "two in a line",
    ["a b c"],
    [[0, 4, 0, 5, "z"], [0, 0, 0, 1, "x"]],
    [{ kind: "replaced", line: 0, start: 0, end: 5, text: "x b z" }],
  ],
  [
    "as many lines",
    ["a", "b", "c"],
    [[0, 0, 2, 1, "x\nb\nz"]],
    [
      { kind: "replaced", line: 0, start: 0, end: 1, text: "x" },
      { kind: "replaced", line: 2, start: 0, end: 1, text: "z" },
    ],
  ],
  [
    "fewer",
    ["def f():", "    a", "    b", "end"],
    [[1, 4, 2, 5, "c"]],
    [{ kind: "replaced", line: 1, start: 4, end: 5, text: "c" }, { kind: "removed", line: 2 }],
  ],
  [
    "more",
    ["def f():", "    ...", "end"],
    [[1, 4, 1, 7, "a\n    b"]],
    [{ kind: "replaced", line: 1, start: 4, end: 7, text: "a" }, { kind: "added", line: 1, texts: ["    b"] }],
  ],
  ["a line between", ["a", "c"], [[1, 0, 1, 0, "b\n"]], [{ kind: "added", line: 0, texts: ["b"] }]],
  [
    "a line before the first one",
    ["b"],
    [[0, 0, 0, 0, "a\n"]],
    [{ kind: "replaced", line: 0, start: 0, end: 1, text: "a" }, { kind: "added", line: 0, texts: ["b"] }],
  ],
  ["line ends of any kind", ["a", "c"], [[0, 1, 0, 1, "\r\nb"]], [{ kind: "added", line: 0, texts: ["b"] }]],
  ["a line taken away", ["a", "b", "c"], [[0, 1, 1, 1, ""]], [{ kind: "removed", line: 1 }]],
];

for (const [name, lines, changes, expected] of cases) {
  test(`rows: ${name}`, () => {
    assert.deepEqual(rows(changes.map(change), (line) => lines[line]!), expected);
  });
}

test("rows lead from the old text to the new one", () => {
  const letters = "ab\n";
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below;
  const text = (): string => Array.from({ length: random(9) }, () => letters[random(3)]).join("");
  for (let turn = 0; turn < 3000; turn++) {
    const [old, now] = [text(), text()];
    const lines = old.split("\n");
    const end = lines.at(-1)!.length;
    const found = rows([change([0, 0, lines.length - 1, end, now])], (line) => lines[line]!);
    const painted = lines.map((line): string[] => [line]);
    for (const row of found) {
      const at = painted[row.line]!;
      if (row.kind === "replaced") {
        at[0] = at[0]!.slice(0, row.start) + row.text + at[0]!.slice(row.end);
      } else if (row.kind === "added") {
        at.push(...row.texts);
      } else {
        at.length = 0;
      }
    }
    assert.equal(painted.flat().join("\n"), now, JSON.stringify({ old, now, found }));
  }
});
