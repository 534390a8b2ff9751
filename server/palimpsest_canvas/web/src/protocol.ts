// What the server says and takes. See docs/canvas.md.
import type { Piece } from "./edits";

export interface Doc {
  uri: string | null; // null: it came from no editor
  name: string;
  language: string;
  version: number | null;
  text: string;
  start: number; // code points
  end: number;
}

export interface Run {
  id: string;
  name: string;
  source: "page" | "editor";
  running: boolean;
}

export interface ServerState {
  model: string;
  device: string;
  state: string;
  reason: string;
  denoises: boolean;
  writes: boolean;
  models: string[];
  editor: boolean;
  document: Doc | null;
  runs: Run[];
}

export interface Wishes {
  strength: number;
  steps: number | null;
  temperature: number | null;
  seed: number;
  model: string | null;
  beside: boolean;
}

export interface FillBody extends Wishes {
  text: string;
  start: number;
  end: number;
  language: string;
  name: string;
  pieces: Piece[] | null;
  uri: string | null;
  version: number | null;
}

export const SHOWN_LINES = 40;

// Returns the text of a document before its hole, in it, and after it; no more lines around it than a recording shows.
export function around(doc: Pick<Doc, "text" | "start" | "end">): [prefix: string, hole: string, suffix: string] {
  const points = Array.from(doc.text);
  const before = points.slice(0, doc.start).join("").split("\n").slice(-SHOWN_LINES).join("\n");
  const after = points.slice(doc.end).join("").split("\n").slice(0, SHOWN_LINES).join("\n");
  return [before, points.slice(doc.start, doc.end).join(""), after];
}

// Returns whether a fill was for the hole of a document, as far as what is shown of it tells.
export function fits(doc: Doc, shown: { name: string; prefix: string; hole: string; suffix: string }): boolean {
  const points = Array.from(doc.text);
  const before = points.slice(0, doc.start).join("");
  const hole = points.slice(doc.start, doc.end).join("");
  const after = points.slice(doc.end).join("");
  return doc.name === shown.name && hole === shown.hole && before.endsWith(shown.prefix) && after.startsWith(shown.suffix);
}

export function sameText(one: Doc, other: Doc): boolean {
  return one.uri === other.uri && one.text === other.text && one.start === other.start && one.end === other.end;
}
