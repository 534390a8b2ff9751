import assert from "node:assert/strict";
import { test } from "node:test";
import { Settling } from "../src/settling";

const cases: readonly [string, readonly string[], readonly (string | undefined)[]][] = [
  ["one draft is noise until another one agrees", ["return a", "return a"], [undefined, "return a"]],
  ["it grows", ["ab??", "ab!!", "abc!", "abcd", "abcd"], [undefined, "ab", undefined, "abc", "abcd"]],
  ["a doubt takes nothing away", ["abc", "abc", "a?c", "abc"], [undefined, "abc", undefined, undefined]],
  ["a change of mind counts when it is meant", ["abc", "abc", "axy", "axy"], [undefined, "abc", undefined, "axy"]],
  ["blanks are nothing to look at", ["  x", "  y", "  y"], [undefined, undefined, "  y"]],
  ["half a character is none", ["a😀", "a😁"], [undefined, "a"]],
  ["nothing", ["", ""], [undefined, undefined]],
];

for (const [name, drafts, shown] of cases) {
  test(`drafts: ${name}`, () => {
    const settling = new Settling();
    assert.deepEqual(drafts.map((draft) => settling.next(draft)), shown);
  });
}
