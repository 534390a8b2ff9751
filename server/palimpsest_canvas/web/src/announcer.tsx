// Says to those who listen to the page how far the fill is, no more often than they can hear it.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Clock, useClock } from "./clock";
import { failure, finished, frameAt, laneAt, type Outcome, settledShare, type Track, trackEnd } from "./recording";
import { count, percent, time } from "./words";

const APART_MS = 1500;

// Returns the end of a fill as a sentence.
export function ending(outcome: Outcome): string {
  const cost = `${count(outcome.nfe, "pass", "passes")}, ${time(outcome.ms)}`;
  if (!outcome.texts.some(Boolean)) return `Nothing is offered: ${outcome.reason || "it came out empty"} (${cost}).`;
  const treated = outcome.treatment === "none" ? "" : `, ${outcome.treatment}`;
  return `Finished: ${outcome.verdict.status}${treated}, ${cost}.`;
}

export function Announcer({ clock, track, number, frames }: { clock: Clock; track: Track; number: number; frames: number }): JSX.Element {
  const at = useClock(clock, (each) => frameAt(track.frames, each.ms));
  const atEnd = useClock(clock, (each) => each.ms >= trackEnd(track));
  const [said, say] = useState("");
  const last = useRef(-Infinity);
  const lane = laneAt(track, at, number);
  const outcome = finished(track);
  const now =
    failure(track) ||
    (outcome && atEnd ? ending(outcome) : lane ? `Step ${at + 1} of ${frames}, ${percent(settledShare(lane))} settled.` : "The model reads the code.");
  useEffect(() => {
    const wait = Math.max(0, last.current + APART_MS - performance.now());
    const timer = setTimeout(() => {
      last.current = performance.now();
      say(now);
    }, wait);
    return () => clearTimeout(timer);
  }, [now]);
  return <p class="unseen" role="status">{said}</p>;
}
