// The candidates of a fill, of which one is drawn, and what became of them.
import type { JSX } from "preact";
import { Chip } from "./code";
import { type Candidate, finished, type Lane, lanes, type Track } from "./recording";
import { count } from "./words";

interface Props {
  track: Track;
  frames: number; // that are there already: the track is the same object while it grows
  drawn: number;
  onDraw: (number: number) => void;
}

export function Lanes({ track, drawn, onDraw }: Props): JSX.Element | null {
  const candidates = finished(track)?.candidates ?? [];
  const found = lanes(track);
  if (!found.length) return null;
  const rank = (number: number): number => candidates.find((each) => each.number === number)?.rank ?? Infinity;
  const ordered = [...found].sort((a, b) => rank(a.number) - rank(b.number) || a.number - b.number);
  return (
    <fieldset class="card lanes">
      <legend>Candidates</legend>
      {ordered.map((lane) => {
        const judged = candidates.find((each) => each.number === lane.number);
        const size = lane.holes.reduce((sum, hole) => sum + hole.length, 0);
        return (
          <label key={lane.number} class={judged?.chosen ? "chosen" : ""}>
            <input type="radio" name="lane" checked={lane.number === drawn} onChange={() => onDraw(lane.number)} />
            <span class="size">{count(size, "token")}, {lane.kind === "written" ? "left to right" : "denoised"}</span>
            <span class="verdict">{judged ? verdict(judged) : unjudged(lane, finished(track) !== null)}</span>
            {judged && <Chip text={shortened(judged.texts.join(" … "))} />}
          </label>
        );
      })}
    </fieldset>
  );
}

function unjudged(lane: Lane, over: boolean): string {
  if (lane.finished) return over ? "done, not ranked" : "done";
  return over ? "dropped on the way" : "at work";
}

function verdict({ rank, score, verdict: status, reason, chosen }: Candidate): string {
  const parts = [`rank ${rank + 1}`, score === null ? "" : `score ${score.toFixed(2)}`, reason ? `${status} (${reason})` : status];
  return `${chosen ? "chosen: " : ""}${parts.filter(Boolean).join(", ")}`;
}

const shortened = (text: string): string => {
  const line = text.trim().replace(/\s*\n\s*/g, " ↵ ");
  return line.length > 60 ? `${line.slice(0, 59)}…` : line || "(nothing)";
};
