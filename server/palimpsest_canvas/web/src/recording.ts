// A recording as the server writes it, and questions about it. It knows neither the page nor the server.

export type SlotState = "p" | "s" | "o"; // pinned, settled, open
export type Choice = [text: string, probability: number, key: number];
export type Slot = [text: string, entropy: number, state: SlotState, key: number, choices: Choice[]];

export interface Lane {
  number: number;
  kind: "denoised" | "written";
  finished: boolean;
  holes: Slot[][];
}

export interface Frame {
  ms: number;
  step: number;
  lanes: Lane[];
}

export interface Candidate {
  number: number;
  texts: string[];
  rank: number;
  score: number | null;
  verdict: string;
  reason: string;
  chosen: boolean;
}

export interface Outcome {
  texts: string[];
  reason: string;
  verdict: { status: string; reason: string };
  treatment: string;
  nfe: number;
  ms: number;
  settled: boolean;
  candidates: Candidate[];
  stages: [name: string, ms: number][];
}

export interface Failure {
  error: string;
}

// What was drawn by one run of the model, with a clock of its own.
export interface Track {
  model: string;
  frames: Frame[];
  outcome: Outcome | Failure | null;
}

export interface Settings {
  strength: number;
  steps: number | null;
  temperature: number | null;
  seed: number;
}

export interface Recording extends Track {
  format: 1;
  name: string;
  language: string;
  device: string;
  prefix: string;
  between: string[];
  suffix: string;
  hole: string;
  settings: Settings;
  beside: Track | null;
}

export function finished(track: Track): Outcome | null {
  return track.outcome && !("error" in track.outcome) ? track.outcome : null;
}

export function failure(track: Track): string {
  return track.outcome && "error" in track.outcome ? track.outcome.error : "";
}

// Returns the index of the last frame that was there at a time; -1 before the first.
export function frameAt(frames: readonly Frame[], ms: number): number {
  let low = 0;
  let high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle]!.ms <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// Returns the milliseconds until the last thing happened.
export function trackEnd(track: Track): number {
  return Math.max(track.frames.at(-1)?.ms ?? 0, finished(track)?.ms ?? 0);
}

export function recordingEnd(recording: Recording): number {
  return Math.max(trackEnd(recording), recording.beside ? trackEnd(recording.beside) : 0);
}

// Returns a lane as it was in a frame, or as it was last if it had been dropped or was done by then.
export function laneAt(track: Track, index: number, number: number): Lane | null {
  for (let at = Math.min(index, track.frames.length - 1); at >= 0; at--) {
    const lane = track.frames[at]!.lanes.find((each) => each.number === number);
    if (lane) return lane;
  }
  return null;
}

// Returns every lane as it was seen last, by number.
export function lanes(track: Track): Lane[] {
  const found = new Map<number, Lane>();
  for (const frame of track.frames) for (const lane of frame.lanes) found.set(lane.number, lane);
  return [...found.values()].sort((a, b) => a.number - b.number);
}

// Returns the lane to draw unless the user chose one: that of the fill on offer, and the first while it is not known.
export function mainLane(track: Track): number {
  const chosen = finished(track)?.candidates.find((each) => each.chosen)?.number ?? -1;
  if (chosen >= 0) return chosen;
  return track.frames[0]?.lanes[0]?.number ?? 0;
}

// Returns the lane to draw in a frame. Where the main one has not begun, that is the best of those which have: a candidate
// that is written left to right begins when the others are done.
export function laneToDraw(track: Track, index: number): number {
  const main = mainLane(track);
  if (index < 0 || laneAt(track, index, main)) return main;
  const ranked = [...(finished(track)?.candidates ?? [])].sort((a, b) => a.rank - b.rank);
  const begun = ranked.find((each) => laneAt(track, index, each.number));
  return begun?.number ?? track.frames[index]?.lanes[0]?.number ?? main;
}

// Returns how many of the slots that the request left to the model are settled, in 0..1.
export function settledShare(lane: Lane): number {
  const free = lane.holes.flat().filter((slot) => slot[2] !== "p");
  return free.length ? free.filter((slot) => slot[2] === "s").length / free.length : 1;
}

// Returns the mean entropy of the slots that the request left to the model, in nats.
export function meanEntropy(lane: Lane): number {
  const free = lane.holes.flat().filter((slot) => slot[2] !== "p");
  return free.length ? free.reduce((sum, slot) => sum + slot[1], 0) / free.length : 0;
}
