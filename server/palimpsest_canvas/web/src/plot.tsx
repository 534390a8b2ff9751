// Two pictures of a run: mean entropy and settled share over its steps, and where its time went.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { type Clock, useClock } from "./clock";
import { laneAt, meanEntropy, type Outcome, settledShare, type Track } from "./recording";
import { percent, time } from "./words";

const WIDTH = 320;
const HEIGHT = 90;

interface Point {
  ms: number;
  entropy: number;
  settled: number;
}

function points(track: Track, number: number): Point[] {
  return track.frames.flatMap((frame, index) => {
    const lane = laneAt(track, index, number);
    return lane ? [{ ms: frame.ms, entropy: meanEntropy(lane), settled: settledShare(lane) }] : [];
  });
}

const path = (found: [number, number][]): string =>
  found.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

export function Plot({ clock, track, number, frames }: { clock: Clock; track: Track; number: number; frames: number }): JSX.Element | null {
  const found = useMemo(() => points(track, number), [track, number, frames]);
  const end = useClock(clock, (each) => each.end) || 1;
  if (found.length < 2) return null;
  const top = Math.max(0.1, ...found.map((point) => point.entropy));
  const x = (ms: number): number => (ms / end) * WIDTH;
  const y = (share: number): number => HEIGHT - 4 - share * (HEIGHT - 8);
  const [first, last] = [found[0]!, found.at(-1)!];
  const words = `Mean entropy from ${first.entropy.toFixed(1)} to ${last.entropy.toFixed(1)} nats, settled share from ${percent(first.settled)} to ${percent(last.settled)}, in ${found.length} steps.`;
  const seek = (event: MouseEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    clock.seek(((event.clientX - box.left) / box.width) * end);
  };
  return (
    <figure class="plot">
      <figcaption>
        <span class="key entropy">entropy, at most {top.toFixed(1)} nats</span>
        <span class="key settled">settled</span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={words} onClick={seek}>
        <path class="entropy" d={path(found.map((point) => [x(point.ms), y(point.entropy / top)]))} />
        <path class="settled" d={path(found.map((point) => [x(point.ms), y(point.settled)]))} />
        <Now clock={clock} end={end} />
      </svg>
    </figure>
  );
}

function Now({ clock, end }: { clock: Clock; end: number }): JSX.Element {
  const x = useClock(clock, (each) => Math.round((each.ms / end) * WIDTH));
  return <path class="now" d={`M${x} 0V${HEIGHT}`} />;
}

export function Stages({ outcome }: { outcome: Outcome }): JSX.Element | null {
  const total = outcome.stages.reduce((sum, [, ms]) => sum + ms, 0);
  if (total <= 0) return null;
  return (
    <div class="stages">
      <div class="bar" aria-hidden="true">
        {outcome.stages.map(([name, ms], at) => <span key={name} class={`stage-${at % 6}`} style={{ flexGrow: ms / total }} />)}
      </div>
      <ul>
        {outcome.stages.map(([name, ms], at) => (
          <li key={name}><span class={`swatch stage-${at % 6}`} aria-hidden="true" />{name} {time(ms)}, {percent(ms / total)}</li>
        ))}
      </ul>
    </div>
  );
}
