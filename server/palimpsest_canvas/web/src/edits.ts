// What the user changes in a canvas before the model goes on with it. It knows slots, not how they are drawn.
import type { Choice, Slot } from "./recording";

// One of the pieces that `POST /api/fill` takes: how the canvas of the next fill begins.
export interface Piece {
  state: "pinned" | "present" | "noise";
  text: string;
  slots: number;
  key: number | null;
}

export type Edit = { kind: "noise" } | { kind: "pin" } | { kind: "take"; choice: Choice } | { kind: "write"; text: string };

// The canvas that the edits are about stays as it was, wherever the clock goes.
export interface Draft {
  lane: number;
  frame: number;
  slots: Slot[];
  edits: ReadonlyMap<number, Edit>;
}

// Returns the pieces of an edited canvas. Open slots are left to the model, as they were; settled ones it may decide on again.
export function pieces(slots: readonly Slot[], edits: ReadonlyMap<number, Edit>): Piece[] {
  const found: Piece[] = [];
  const noise = (): void => {
    const last = found.at(-1);
    if (last?.state === "noise") last.slots += 1;
    else found.push({ state: "noise", text: "", slots: 1, key: null });
  };
  const token = (state: "pinned" | "present", text: string, key: number | null): void => {
    found.push({ state, text, slots: 0, key });
  };
  slots.forEach(([text, , state, key], index) => {
    const edit = edits.get(index);
    if (edit?.kind === "write") token("pinned", edit.text, null);
    else if (edit?.kind === "take") token("pinned", edit.choice[0], edit.choice[2]);
    else if (edit?.kind === "noise") noise();
    else if (edit?.kind === "pin" || state === "p") token("pinned", text, key);
    else if (state === "s") token("present", text, key);
    else noise();
  });
  return found;
}

// Returns what an edit does to a token, in words.
export function described(edit: Edit): string {
  if (edit.kind === "noise") return "to be renoised";
  return edit.kind === "pin" ? "to be pinned" : "to be replaced";
}
