// What changes look like line by line, so that they can be painted over a text that is not changed yet; knows text
// only.

import type { Range } from "./protocol";

/** A text in place of a range. */
export interface Change {
  readonly range: Range;
  readonly text: string;
}

/** In a line, what stands from `start` to `end` is to read `text`; or a line goes; or lines come after one. */
export type Row =
  | {
      readonly kind: "replaced";
      readonly line: number;
      readonly start: number;
      readonly end: number;
      readonly text: string;
    }
  | { readonly kind: "removed"; readonly line: number }
  | { readonly kind: "added"; readonly line: number; readonly texts: readonly string[] };

const WORD = /^\w/;

/** The rows of some changes, none of which touch each other. lineAt: the text that they are about, line by line. */
export function rows(changes: readonly Change[], lineAt: (line: number) => string): Row[] {
  return blocks(changes, lineAt).flatMap(({ first, old, now }) => compared(first, old, now));
}

/** Whole lines of a text, from `first` on, as they are and as they are to be. */
export interface Block {
  readonly first: number;
  readonly old: readonly string[];
  readonly now: readonly string[];
}

/** Whole lines as they are and as they are to be; changes of the same lines together. */
export function blocks(changes: readonly Change[], lineAt: (line: number) => string): Block[] {
  const sorted = [...changes].sort(({ range: a }, { range: b }) => order(a.start, b.start));
  const grouped: Change[][] = [];
  let last = -1;
  for (const change of sorted) {
    if (change.range.start.line > last) {
      grouped.push([]);
    }
    grouped.at(-1)?.push(change);
    last = Math.max(last, change.range.end.line);
  }
  return grouped.map((group) => {
    const first = group[0]!.range.start.line;
    const end = Math.max(...group.map(({ range }) => range.end.line));
    const old = Array.from({ length: end - first + 1 }, (_, index) => lineAt(first + index));
    let text = "";
    let at = { line: first, character: 0 };
    for (const { range, text: written } of group) {
      text += between(old, first, at, range.start) + written;
      at = range.end;
    }
    text += between(old, first, at, { line: end, character: Infinity });
    return { first, old, now: text.split(/\r\n|\r|\n/) };
  });
}

function between(old: readonly string[], first: number, from: Range["start"], to: Range["end"]): string {
  const lines = old.slice(from.line - first, to.line - first + 1);
  lines[lines.length - 1] = lines.at(-1)!.slice(0, to.character);
  lines[0] = lines[0]!.slice(from.character);
  return lines.join("\n");
}

function order(a: Range["start"], b: Range["start"]): number {
  return a.line - b.line || a.character - b.character;
}

function compared(first: number, old: readonly string[], now: readonly string[]): Row[] {
  const head = same(old, now, Math.min(old.length, now.length));
  // Without a line before them, added lines would have nothing to come after.
  const most = Math.min(old.length, now.length) - Math.max(head, first === 0 && head === 0 ? 1 : 0);
  const tail = same([...old].reverse(), [...now].reverse(), most);
  const [before, after] = [old.slice(head, old.length - tail), now.slice(head, now.length - tail)];
  const found: Row[] = [];
  const paired = Math.min(before.length, after.length);
  for (let index = 0; index < paired; index++) {
    const row = within(first + head + index, before[index]!, after[index]!);
    if (row) {
      found.push(row);
    }
  }
  for (let index = paired; index < before.length; index++) {
    found.push({ kind: "removed", line: first + head + index });
  }
  if (after.length > paired) {
    found.push({ kind: "added", line: first + head + before.length - 1, texts: after.slice(paired) });
  }
  return found;
}

/** Where a line reads otherwise, in whole words. */
function within(line: number, old: string, now: string): Row | undefined {
  const units = (each: string): number => each.length;
  let head = same([...old], [...now], Infinity, units);
  let tail = same([...old.slice(head)].reverse(), [...now.slice(head)].reverse(), Infinity, units);
  if (old.length === head + tail && now.length === head + tail) {
    return undefined;
  }
  const wordy = (from: number, to: number): boolean =>
    [old.slice(head, old.length - tail), now.slice(head, now.length - tail)].some((each) => WORD.test(each.slice(from, to)));
  if (wordy(0, 1)) {
    head -= /\w*$/.exec(old.slice(0, head))![0].length;
  }
  if (wordy(-1, Infinity)) {
    tail -= /^\w*/.exec(old.slice(old.length - tail))![0].length;
  }
  return { kind: "replaced", line, start: head, end: old.length - tail, text: now.slice(head, now.length - tail) };
}

/** How many elements both begin with, at most so many; or how long those are together. */
function same(one: readonly string[], other: readonly string[], most: number, size: (line: string) => number = () => 1): number {
  let [count, total] = [0, 0];
  while (count < Math.min(one.length, other.length, most) && one[count] === other[count]) {
    total += size(one[count++]!);
  }
  return total;
}
