// Tokens and figures in words: for labels, chips and those who listen to the page.
import type { Slot, SlotState } from "./recording";

export const STATES: Record<SlotState, string> = { p: "pinned", s: "settled", o: "open" };
// The upper ends of the levels of the entropy scale, in nats. The last level has none.
export const LEVELS = [0.05, 0.3, 0.8, 1.6, 3];

// Returns 0 for a slot that is all but certain, up to 5 for one that could be anything.
export function level(entropy: number): number {
  const found = LEVELS.findIndex((end) => entropy < end);
  return found < 0 ? LEVELS.length : found;
}

// Returns a token with its blanks as glyphs, to be shown by itself.
export function glyphs(text: string): string {
  if (text === "") return "∅";
  return text.replaceAll("\r", "␍").replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +| +$/g, (run) => "·".repeat(run.length));
}

// Returns a token as it is to be read aloud.
export function spoken(text: string): string {
  if (text === "") return "filler";
  const word = text.trim();
  const breaks = text.split("\n").length - 1;
  const lines = breaks === 0 ? "" : breaks === 1 ? "new line" : `${breaks} new lines`;
  if (word) return lines ? `${lines}, ${word}` : word;
  const blanks = text.split("\n").at(-1)!.length;
  const spaces = blanks === 0 ? "" : blanks === 1 ? "space" : `${blanks} spaces`;
  return [lines, spaces].filter(Boolean).join(", ");
}

export function label(slot: Slot): string {
  return `${spoken(slot[0])}, ${STATES[slot[2]]}${slot[2] === "o" ? `, entropy ${slot[1].toFixed(1)}` : ""}`;
}

// Returns a time in whole milliseconds below 10 s, and in seconds above.
export function time(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function percent(share: number): string {
  return share > 0 && share < 0.01 ? "<1 %" : `${Math.round(share * 100)} %`;
}

export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}
