// One run of the model with everything that belongs to it: its panes, clock, candidates, figures, and edits.
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Announcer, ending } from "./announcer";
import { Clock, useClock } from "./clock";
import { Code, type Place } from "./code";
import { type Draft, type Edit, type Piece, pieces } from "./edits";
import { Lanes } from "./lanes";
import { Legend } from "./legend";
import { Panel } from "./panel";
import { Plot, Stages } from "./plot";
import { failure, finished, frameAt, laneAt, laneToDraw, mainLane, type Recording, recordingEnd, type Track } from "./recording";
import { onPageKey, Transport } from "./transport";
import { count, time } from "./words";

export interface Editing {
  blocked: string; // why the canvas cannot be changed; "" if it can
  settle: (canvas: Piece[]) => void;
  hold: (held: boolean) => void; // there are changes that would be lost with this run
}

interface Props {
  recording: Recording;
  running: boolean;
  revision: number; // grows with the recording, which is the same object all the time
  editing: Editing | null;
  sending?: ((texts: string[]) => JSX.Element) | undefined;
  children?: ComponentChildren;
}

interface Opened extends Place {
  beside: boolean;
}

export const calm = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function Viewer({ recording, running, revision, editing, sending, children }: Props): JSX.Element {
  const clock = useMemo(() => new Clock(), []);
  const [number, draw] = useState<number | null>(null);
  const [opened, open] = useState<Opened | null>(null);
  const [draft, setDraft] = useState<Draft | null>(null);
  const page = useRef<HTMLDivElement>(null);
  const at = useClock(clock, (each) => frameAt(recording.frames, each.ms));
  const drawn = number ?? laneToDraw(recording, at);
  const lane = laneAt(recording, at, drawn);
  const outcome = finished(recording);

  useLayoutEffect(() => clock.extend(recordingEnd(recording)), [recording, revision]);
  // Both at once, not after the next painting: what a key or an event did meanwhile would be undone.
  useLayoutEffect(() => {
    if (editing || calm()) clock.follow();
    else clock.play();
  }, []);
  useLayoutEffect(() => editing?.hold(draft !== null), [draft]);
  const close = (): void => {
    if (!opened) return;
    open(null);
    const token = `.${opened.beside ? "beside" : "main"} [data-hole="${opened.hole}"] [data-index="${opened.index}"]`;
    if (page.current?.querySelector(".panel")?.contains(document.activeElement)) page.current.querySelector<HTMLElement>(token)?.focus();
  };
  // At once: a key can come before what is painted next.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && opened) close();
      else onPageKey(event, clock, recording);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [opened, recording]);

  const show = (place: Opened): void => {
    clock.pause();
    open(place);
  };
  const edit = (index: number, made: Edit | null): void => {
    clock.pause();
    const edits = new Map(draft?.edits);
    if (made) edits.set(index, made);
    else edits.delete(index);
    const slots = draft?.slots ?? lane!.holes[0]!;
    setDraft(edits.size ? { lane: draft?.lane ?? drawn, frame: draft?.frame ?? at, slots, edits } : null);
  };
  const here = draft !== null && draft.frame === at && draft.lane === drawn;
  const goTo = (there: Draft): void => {
    draw(there.lane);
    clock.seek(recording.frames[there.frame]!.ms);
  };
  const blocked = (): string | null => {
    if (!editing || opened?.beside) return "";
    if (editing.blocked) return editing.blocked;
    if (running && !recording.outcome) return "When the fill is done, or cancelled, tokens can be changed.";
    if (recording.between.length) return "Tokens can be changed in a fill of one hole.";
    return draft && !here ? `Your changes are in step ${draft.frame + 1}.` : null;
  };

  const texts = [recording.prefix, ...recording.between, recording.suffix];
  const old = recording.between.length ? "" : recording.hole;
  const openedTrack: Track | null = opened?.beside ? recording.beside : recording;
  const trackAt = opened?.beside ? frameAt(recording.beside?.frames ?? [], clock.ms) : at;
  const openedLane = opened && openedTrack ? laneAt(openedTrack, trackAt, opened.beside ? mainLane(openedTrack) : drawn) : null;
  const slot = opened ? openedLane?.holes[opened.hole]?.[opened.index] : undefined;
  return (
    <div class={slot ? "viewer with-panel" : "viewer"} ref={page}>
      <main>
        <div class="panes">
          <section class="pane main" aria-labelledby="main-title">
            <header>
              <h2 id="main-title">{lane?.kind === "written" ? "Left to right" : "Diffusion"}</h2>
              <Cost track={recording} running={running} />
            </header>
            <Code
              name="The code"
              texts={texts}
              old={old}
              lane={lane}
              before={at > 0 ? laneAt(recording, at - 1, drawn) : null}
              frame={at}
              selected={opened && !opened.beside ? opened : null}
              edits={here ? draft.edits : undefined}
              onOpen={(place) => show({ ...place, beside: false })}
            />
          </section>
          {recording.beside && (
            <Beside
              clock={clock}
              track={recording.beside}
              texts={texts}
              old={old}
              revision={revision}
              selected={opened?.beside ? opened : null}
              onOpen={(place) => show({ ...place, beside: true })}
            />
          )}
        </div>
        {(running || recording.frames.length > 0) && <Transport clock={clock} track={recording} running={running} />}
        {draft && (
          <div class="draft" role="group" aria-label="Your changes">
            <span>{count(draft.edits.size, "change")} in step {draft.frame + 1}</span>
            <button type="button" class="primary" onClick={() => editing!.settle(pieces(draft.slots, draft.edits))}>Let the rest settle</button>
            {!here && <button type="button" onClick={() => goTo(draft)}>Go there</button>}
            <button type="button" onClick={() => setDraft(null)}>Discard</button>
          </div>
        )}
        {failure(recording) && <p class="trouble">{failure(recording)}</p>}
        {outcome && (
          <section class="card result" aria-labelledby="result-title">
            <h2 id="result-title">Result</h2>
            <p>{ending(outcome)}{outcome.settled ? "" : " The step limit came before everything had settled."}{outcome.verdict.reason && ` ${outcome.verdict.reason}`}</p>
            {outcome.texts.map((text, index) => text && <pre key={index} tabIndex={0} role="group" aria-label={`Text of hole ${index + 1}`}>{indent(texts[index]!) + text.trimEnd()}</pre>)}
            {sending?.(outcome.candidates.find((each) => each.number === drawn)?.texts ?? outcome.texts)}
          </section>
        )}
      </main>
      <aside>
        {slot && opened && (
          <Panel
            key={`${opened.beside}-${opened.hole}-${opened.index}`}
            slot={slot}
            title={`Position ${opened.index + 1} of ${openedLane!.holes[opened.hole]!.length}`}
            edit={here && !opened.beside ? draft.edits.get(opened.index) : undefined}
            blocked={blocked()}
            onEdit={(made) => edit(opened.index, made)}
            onClose={close}
          />
        )}
        {children}
        <Lanes track={recording} frames={recording.frames.length} drawn={drawn} onDraw={draw} />
        {recording.frames.length > 1 && (
          <section class="card" aria-labelledby="figures-title">
            <h2 id="figures-title">Figures</h2>
            <Plot clock={clock} track={recording} number={drawn} frames={recording.frames.length} />
            {outcome && <Stages outcome={outcome} />}
          </section>
        )}
        <Legend />
      </aside>
      <Announcer clock={clock} track={recording} number={drawn} frames={recording.frames.length} />
    </div>
  );
}

// Returns the blanks between the last line end of a text and its end, if there is nothing else: the line begins with them.
const indent = (before: string): string => /(?:^|\n)([^\S\n]*)$/.exec(before)?.[1] ?? "";

interface BesideProps {
  clock: Clock;
  track: Track;
  texts: string[];
  old: string;
  revision: number;
  selected: Place | null;
  onOpen: (place: Place) => void;
}

// The same weights left to right, by the same clock.
function Beside({ clock, track, texts, old, selected, onOpen }: BesideProps): JSX.Element {
  const at = useClock(clock, (each) => frameAt(track.frames, each.ms));
  const number = mainLane(track);
  return (
    <section class="pane beside" aria-labelledby="beside-title">
      <header>
        <h2 id="beside-title">Left to right</h2>
        <Cost track={track} running={false} />
      </header>
      <Code
        name="The code, left to right"
        texts={texts}
        old={old}
        lane={laneAt(track, at, number)}
        before={at > 0 ? laneAt(track, at - 1, number) : null}
        frame={at}
        selected={selected}
        onOpen={onOpen}
      />
      {failure(track) && <p class="trouble">{failure(track)}</p>}
    </section>
  );
}

function Cost({ track, running }: { track: Track; running: boolean }): JSX.Element {
  const outcome = finished(track);
  if (outcome) return <span class="quiet">{count(outcome.nfe, "pass", "passes")}, {time(outcome.ms)}</span>;
  return <span class="quiet">{running ? "at work" : ""}</span>;
}
