// The clock that all tracks are drawn by. It knows milliseconds, not what is drawn.
import { useLayoutEffect, useState } from "preact/hooks";

export const SPEEDS = [1, 1 / 2, 1 / 5, 1 / 10, 1 / 20, 1 / 50];
const PLAY_MS = 5000; // a fill of a tenth of a second is over before it is seen: as a rule, play it for so long

export class Clock {
  ms = 0;
  end = 0;
  playing = false;
  speed = 1;
  following = false; // live: stay at the newest frame
  private paced = false; // the user chose the speed
  private last = 0;
  private readonly listeners = new Set<() => void>();

  // Sets the end and, unless the user chose one, the speed at which playing takes some seconds.
  extend(end: number): void {
    this.end = end;
    if (!this.paced) this.speed = SPEEDS.find((speed) => end / speed >= PLAY_MS) ?? SPEEDS.at(-1)!;
    if (this.following) this.ms = end;
    this.tell();
  }

  seek(ms: number): void {
    this.ms = Math.max(0, Math.min(ms, this.end));
    this.following = false;
    this.tell();
  }

  follow(): void {
    this.playing = false;
    this.following = true;
    this.ms = this.end;
    this.tell();
  }

  pace(speed: number): void {
    this.speed = speed;
    this.paced = true;
    this.tell();
  }

  pause(): void {
    this.playing = false;
    this.tell();
  }

  // Plays on, from the beginning if it is at its end.
  play(): void {
    if (this.playing) return;
    this.following = false;
    if (this.ms >= this.end) this.ms = 0;
    this.playing = true;
    this.last = performance.now();
    requestAnimationFrame(this.tick);
    this.tell();
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private readonly tick = (now: number): void => {
    if (!this.playing) return;
    this.ms = Math.min(this.end, this.ms + Math.max(0, now - this.last) * this.speed);
    this.last = now;
    if (this.ms >= this.end) this.playing = false;
    else requestAnimationFrame(this.tick);
    this.tell();
  };

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

// Returns a value of the clock, and draws the component anew when that value changes, which is rarer than the clock does.
export function useClock<T>(clock: Clock, select: (clock: Clock) => T): T {
  const value = select(clock);
  const [, redraw] = useState(0);
  useLayoutEffect(() => {
    let drawn = value;
    if (!Object.is(select(clock), drawn)) redraw((n) => n + 1);
    return clock.subscribe(() => {
      const now = select(clock);
      if (Object.is(now, drawn)) return;
      drawn = now;
      redraw((n) => n + 1);
    });
  });
  return value;
}
