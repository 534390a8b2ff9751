// The hunks of some changes: whole lines that differ, each of which can be taken or left; knows text only.

import { blocks, type Change } from "./rows";

/** Two texts of which more pairs of lines would have to be compared are one hunk. */
const MOST_PAIRS = 1_000_000;
const WORD = /[\p{L}\p{N}_]/u;

/** Lines of a text from `start` to before `end` are to read `now`. */
interface Differing {
  readonly start: number;
  readonly end: number;
  readonly now: readonly string[];
}

/**
 * The changes anew, as one for each hunk, in order. None of them touch, so any of them may be made without the others.
 * lineAt, lineCount: of the text that they are about.
 */
export function hunks(
  changes: readonly Change[],
  lineAt: (line: number) => string,
  lineCount: number,
): readonly Change[] {
  const found = blocks(changes, lineAt).flatMap(({ first, old, now }) =>
    differing(old, now).map(({ start, end, now }) => ({ start: first + start, end: first + end, now })),
  );
  return found.map((each) => change(each, lineAt, lineCount));
}

function change({ start, end, now }: Differing, lineAt: (line: number) => string, lineCount: number): Change {
  const at = (line: number, character: number): Change["range"]["start"] => ({ line, character });
  const behind = (line: number): Change["range"]["start"] => at(line, lineAt(line).length);
  if (now.length && end > start) {
    return { range: { start: at(start, 0), end: behind(end - 1) }, text: now.join("\n") };
  }
  // A line break goes or comes with the lines: the one behind them, but for the last line of the text, which has none.
  const written = now.join("\n");
  if (end < lineCount) {
    return { range: { start: at(start, 0), end: at(end, 0) }, text: now.length ? `${written}\n` : "" };
  }
  if (start > 0) {
    const last = end > start ? end - 1 : start - 1;
    return { range: { start: behind(start - 1), end: behind(last) }, text: now.length ? `\n${written}` : "" };
  }
  return { range: { start: at(0, 0), end: behind(lineCount - 1) }, text: written };
}

/** Where they differ. Places with nothing but blank lines and punctuation between them are one. */
function differing(old: readonly string[], now: readonly string[]): Differing[] {
  const found: { start: number; end: number; from: number; to: number }[] = [];
  let [start, from] = [0, 0];
  for (const [line, other] of [...common(old, now), [old.length, now.length] as const]) {
    if (line > start || other > from) {
      const last = found.at(-1);
      if (last && !old.slice(last.end, start).some((each) => WORD.test(each))) {
        [last.end, last.to] = [line, other];
      } else {
        found.push({ start, end: line, from, to: other });
      }
    }
    [start, from] = [line + 1, other + 1];
  }
  return found.map(({ start, end, from, to }) => ({ start, end, now: now.slice(from, to) }));
}

/** The longest list of lines that both have, in order: the numbers of each in the one and in the other. */
function common(old: readonly string[], now: readonly string[]): (readonly [number, number])[] {
  const shorter = Math.min(old.length, now.length);
  let [head, tail] = [0, 0];
  while (head < shorter && old[head] === now[head]) {
    head++;
  }
  while (tail < shorter - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) {
    tail++;
  }
  const pairs = Array.from({ length: head }, (_, index) => [index, index] as const);
  const [rows, columns] = [old.length - head - tail, now.length - head - tail];
  if (rows * columns <= MOST_PAIRS) {
    // lengths[row][column]: of the longest list that the lines from there on have.
    const lengths = Array.from({ length: rows + 1 }, () => new Uint32Array(columns + 1));
    for (let row = rows - 1; row >= 0; row--) {
      for (let column = columns - 1; column >= 0; column--) {
        lengths[row]![column] =
          old[head + row] === now[head + column]
            ? lengths[row + 1]![column + 1]! + 1
            : Math.max(lengths[row + 1]![column]!, lengths[row]![column + 1]!);
      }
    }
    for (let row = 0, column = 0; row < rows && column < columns; ) {
      if (old[head + row] === now[head + column]) {
        pairs.push([head + row++, head + column++]);
      } else if (lengths[row + 1]![column]! >= lengths[row]![column + 1]!) {
        row++;
      } else {
        column++;
      }
    }
  }
  const end = Array.from({ length: tail }, (_, index) => [old.length - tail + index, now.length - tail + index] as const);
  return [...pairs, ...end];
}
