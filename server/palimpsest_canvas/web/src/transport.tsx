// The controls of the clock: play, step, scrub, speed. It knows the frames by their times only.
import type { JSX } from "preact";
import { type Clock, SPEEDS, useClock } from "./clock";
import { frameAt, type Track } from "./recording";
import { time } from "./words";

const ICONS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M11 3v10L4 8z",
  play: "M4 2v12l10-6z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  forward: "M5 3v10l7-5z",
  last: "M11 3h2v10h-2zM3 3v10l7-5z",
};

function Button({ icon, name, keys, onClick }: { icon: keyof typeof ICONS; name: string; keys: string; onClick: () => void }): JSX.Element {
  return (
    <button type="button" aria-label={name} title={`${name} (${keys})`} onClick={onClick}>
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d={ICONS[icon]} /></svg>
    </button>
  );
}

// Moves the clock by so many frames.
export function stepBy(clock: Clock, track: Track, frames: number): void {
  const at = frameAt(track.frames, clock.ms) + frames;
  clock.pause();
  if (at < 0) clock.seek(0);
  else if (at >= track.frames.length) clock.seek(clock.end);
  else clock.seek(track.frames[at]!.ms);
}

export function Transport({ clock, track, running }: { clock: Clock; track: Track; running: boolean }): JSX.Element {
  const playing = useClock(clock, (each) => each.playing);
  const following = useClock(clock, (each) => each.following);
  const speed = useClock(clock, (each) => each.speed);
  return (
    <div class="transport" role="group" aria-label="Playback">
      <Position clock={clock} track={track} />
      <div class="buttons">
        <Button icon="first" name="To the beginning" keys="Home" onClick={() => clock.seek(0)} />
        <Button icon="back" name="One step back" keys="←" onClick={() => stepBy(clock, track, -1)} />
        <Button icon={playing ? "pause" : "play"} name={playing ? "Pause" : "Play"} keys="Space" onClick={() => clock.toggle()} />
        <Button icon="forward" name="One step forward" keys="→" onClick={() => stepBy(clock, track, 1)} />
        <Button icon="last" name="To the end" keys="End" onClick={() => clock.seek(clock.end)} />
        <label class="speed">
          Speed
          <select value={String(speed)} onChange={(event) => clock.pace(Number(event.currentTarget.value))}>
            {SPEEDS.map((each) => <option key={each} value={String(each)}>{each === 1 ? "real time" : `1/${Math.round(1 / each)}`}</option>)}
          </select>
        </label>
        {running && (
          <button type="button" class="live" aria-pressed={following} onClick={() => clock.follow()}>Live</button>
        )}
      </div>
    </div>
  );
}

// The only part that is drawn anew for every tick of the clock.
function Position({ clock, track }: { clock: Clock; track: Track }): JSX.Element {
  const ms = useClock(clock, (each) => Math.round(each.ms));
  const end = useClock(clock, (each) => each.end);
  const steps = track.frames.length;
  const at = frameAt(track.frames, clock.ms) + 1;
  const words = !steps ? "No step yet" : `Step ${at} of ${steps}, ${time(ms)} of ${time(end)}`;
  return (
    <div class="position">
      <input
        type="range"
        min={0}
        max={Math.max(1, Math.ceil(end))}
        step={1}
        value={ms}
        aria-label="Time"
        aria-valuetext={words}
        onInput={(event) => clock.seek(Number(event.currentTarget.value) >= Math.floor(end) ? end : Number(event.currentTarget.value))}
      />
      <span class="clock">{words}</span>
    </div>
  );
}

// Acts on the keys of the whole page. Those of fields, lists and buttons stay theirs.
export function onPageKey(event: KeyboardEvent, clock: Clock, track: Track): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof Element)) return;
  const range = event.target.matches("input[type=range][aria-label=Time]");
  if (!range && event.target.closest("input, textarea, select")) return;
  if (event.key === " " && event.target.closest("button, summary, a")) return;
  const act: Record<string, () => void> = {
    " ": () => clock.toggle(),
    ArrowLeft: () => stepBy(clock, track, -1),
    ArrowRight: () => stepBy(clock, track, 1),
    ",": () => stepBy(clock, track, -1),
    ".": () => stepBy(clock, track, 1),
    Home: () => clock.seek(0),
    End: () => clock.seek(clock.end),
  };
  if (!act[event.key]) return;
  event.preventDefault();
  act[event.key]!();
}
