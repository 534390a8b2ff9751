// Where a next edit is, seen from the cursor and from what is on the screen; knows lines only.

import type { Range } from "./protocol";

/** Lines that are on the screen, both included. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

export type Direction = "above" | "seen" | "below";

/** Where a line is. spans: what is on the screen; folded lines part it. */
export function direction(line: number, spans: readonly Span[]): Direction {
  if (!spans.length || spans.some(({ first, last }) => line >= first && line <= last)) {
    return "seen";
  }
  return line < spans[0]!.first ? "above" : spans.every(({ last }) => line > last) ? "below" : "seen";
}

/** The cursor is on a line of the edit: there is nowhere to go, and nobody is surprised when it is made. */
export function isHere(range: Range, line: number): boolean {
  return line >= range.start.line && line <= range.end.line;
}

/** Whether Tab leads to the edit. In front of a line's code it indents, unless the edit is there. */
export function tabLeads(range: Range, sameDocument: boolean, line: number, before: string): boolean {
  return (sameDocument && isHere(range, line)) || /\S/.test(before);
}

const ARROWS = { above: "↑", seen: "→", below: "↓" } as const;

/** For the status bar and the mark: where to, and why. name: of the document, if it is another one. */
export function pointer(to: Direction, line: number, reason: string, name?: string): string {
  return name === undefined ? `${ARROWS[to]} ${line + 1}: ${reason}` : `→ ${name}:${line + 1}: ${reason}`;
}
