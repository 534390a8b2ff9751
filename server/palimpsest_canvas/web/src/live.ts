// The page's side of the server: its state, its runs and their events. It knows nothing of how they are drawn.
import { useLayoutEffect, useState } from "preact/hooks";
import type { Piece } from "./edits";
import { type Doc, type FillBody, fits, type Run, sameText, type ServerState, type Wishes } from "./protocol";
import type { Frame, Recording, Track } from "./recording";

const LOST = "The connection to the server was lost before the fill was done.";

export class Live {
  state: ServerState | null = null;
  doc: Doc | null = null; // what the page works with; the editor's may be newer
  scratch: Doc | null = null; // what the user wrote here
  shown: string | null = null; // the run that is drawn
  gone = ""; // why the server cannot be reached
  trouble = ""; // why the last thing the user asked for was not done
  notice = "";
  held = false; // the user has changes in the run that is drawn
  revision = 0;
  private readonly recordings = new Map<string, Recording>();
  private readonly bodies = new Map<string, FillBody>();
  private readonly streams = new Map<string, EventSource>();
  private readonly over = new Set<string>(); // runs that have ended: an answer that was on its way may say otherwise
  private readonly listeners = new Set<() => void>();
  private due = false;

  constructor() {
    this.listen();
    void this.refresh();
  }

  // The newest last.
  get runs(): Run[] {
    return this.state?.runs ?? [];
  }

  get run(): Run | null {
    return this.runs.find((each) => each.id === this.shown) ?? null;
  }

  get recording(): Recording | null {
    return this.shown === null ? null : (this.recordings.get(this.shown) ?? null);
  }

  // The document of the editor is not the one that the page works with any more.
  get moved(): boolean {
    const now = this.state?.document;
    return Boolean(this.doc && now && !sameText(this.doc, now));
  }

  // Returns the request of the run that is drawn, or of one like it: a run of the editor was not asked for here.
  get body(): Omit<FillBody, keyof Wishes | "pieces"> | null {
    const body = this.shown === null ? undefined : this.bodies.get(this.shown);
    if (body) return body;
    const recording = this.recording;
    const open = [this.doc, this.state?.document ?? null];
    return recording ? (open.find((doc) => doc !== null && fits(doc, recording)) ?? null) : this.doc;
  }

  // Begins with another document, and no run.
  adopt(doc: Doc | null): void {
    this.doc = doc;
    if (doc?.uri === null) this.scratch = doc;
    this.shown = null;
    this.changed();
  }

  async fill(wishes: Wishes, canvas: Piece[] | null): Promise<void> {
    const base = canvas ? this.body : this.doc;
    if (!base) return;
    const { text, start, end, language, name, uri, version } = base;
    const body = { text, start, end, language, name, uri, version, ...wishes, pieces: canvas };
    const answer = await this.ask("/api/fill", body);
    if (!answer) return;
    const id = String(answer["run"]);
    this.bodies.set(id, body);
    this.note({ id, name, source: "page", running: true });
    this.show(id);
  }

  async cancel(): Promise<void> {
    if (this.shown !== null) await this.ask(`/api/runs/${this.shown}/cancel`, {});
  }

  async apply(texts: string[]): Promise<void> {
    if (this.shown === null) return;
    if (await this.ask(`/api/runs/${this.shown}/apply`, { texts })) this.say("It is in the editor.");
  }

  // Draws a run. Those of other pages and of the editor go on without us; our own would be cancelled if we left them.
  show(id: string): void {
    const before = this.shown;
    if (before !== null && before !== id && !this.bodies.has(before)) this.leave(before);
    this.shown = id;
    this.trouble = "";
    this.notice = "";
    if (!this.recordings.get(id)?.outcome && !this.streams.has(id)) this.follow(id);
    this.changed();
  }

  hold(held: boolean): void {
    this.held = held;
  }

  dismiss(): void {
    this.trouble = "";
    this.notice = "";
    this.changed();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private listen(): void {
    const stream = new EventSource("/api/events");
    stream.addEventListener("open", () => {
      if (this.gone) void this.refresh();
      this.gone = "";
      this.changed();
    });
    stream.addEventListener("error", () => {
      const ended = stream.readyState === EventSource.CLOSED;
      this.gone = ended
        ? "This page may not speak to the server any more. Open it anew with: palimpsest canvas"
        : "The server has gone, or does not answer. It is tried again and again; if it has ended, open a new page with: palimpsest canvas";
      this.changed();
    });
    stream.addEventListener("state", () => void this.refresh());
    stream.addEventListener("run", (event) => {
      const run = JSON.parse(event.data) as Run;
      this.note(run);
      const idle = !this.held && !(this.run?.running && this.run.source === "page");
      if (run.source === "editor" && run.running && idle) this.show(run.id);
      this.changed();
    });
  }

  private follow(id: string): void {
    const stream = new EventSource(`/api/runs/${encodeURIComponent(id)}/events`);
    this.streams.set(id, stream);
    const on = <T,>(name: string, act: (data: T, recording: Recording) => void): void =>
      stream.addEventListener(name, (event) => {
        act(JSON.parse(event.data) as T, this.recordings.get(id)!);
        if (this.shown !== id) return;
        if (name === "frame" && this.recordings.get(id)!.frames.length > 1) this.soon();
        else if (name === "beside-frame") this.soon();
        else this.changed();
      });
    on<Recording>("begun", (data) => this.recordings.set(id, { ...data, frames: [], outcome: null, beside: null }));
    on<Frame>("frame", (frame, recording) => recording.frames.push(frame));
    on<Track["outcome"]>("done", (outcome, recording) => { recording.outcome = outcome; });
    on<{ model: string }>("beside-begun", ({ model }, recording) => { recording.beside = { model, frames: [], outcome: null }; });
    on<Frame>("beside-frame", (frame, recording) => recording.beside!.frames.push(frame));
    on<Track["outcome"]>("beside-done", (outcome, recording) => { recording.beside!.outcome = outcome; });
    stream.addEventListener("end", () => {
      this.leave(id);
      this.ended(id);
    });
    stream.addEventListener("error", () => {
      if (stream.readyState !== EventSource.CLOSED) return; // it is tried again, and told from the beginning
      this.leave(id);
      const recording = this.recordings.get(id);
      if (recording) recording.outcome ??= { error: LOST };
      else if (this.shown === id) this.trouble = "This fill is not there any more.";
      this.ended(id);
    });
  }

  private leave(id: string): void {
    this.streams.get(id)?.close();
    this.streams.delete(id);
  }

  private ended(id: string): void {
    this.over.add(id);
    const run = this.runs.find((each) => each.id === id);
    if (run) run.running = false;
    this.changed();
  }

  private note(run: Run): void {
    if (!this.state) return;
    run.running &&= !this.over.has(run.id);
    const known = this.runs.find((each) => each.id === run.id);
    if (known) Object.assign(known, run);
    else this.state.runs.push(run);
  }

  private async refresh(): Promise<void> {
    const state = await this.ask("/api/state");
    if (!state) return;
    this.state = state as unknown as ServerState;
    for (const run of this.runs) run.running &&= !this.over.has(run.id);
    // Nothing was made of the old document yet: there is nothing to ask about.
    if (this.shown === null && this.state.document) this.doc = this.state.document;
    this.changed();
  }

  // Returns the server's answer; null if there is none, or an error, which the page then shows.
  private async ask(path: string, body?: object): Promise<Record<string, unknown> | null> {
    const asked = body !== undefined;
    if (asked) this.dismiss();
    try {
      const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
      const response = await fetch(path, asked ? post : {});
      const answer = (await response.json().catch(() => ({}))) as Record<string, unknown>;
      if (response.ok) return answer;
      this.trouble = String(answer["error"] ?? `The server answered ${response.status}.`);
    } catch {
      if (asked) this.trouble = "That could not be done: the server has gone, or does not answer.";
    }
    this.changed();
    return null;
  }

  private say(notice: string): void {
    this.notice = notice;
    this.changed();
  }

  // Steps may come faster than the screen can show them.
  private soon(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => this.changed());
  }

  private changed(): void {
    this.due = false;
    this.revision += 1;
    for (const listener of this.listeners) listener();
  }
}

export function useLive(live: Live): void {
  const [, redraw] = useState(0);
  useLayoutEffect(() => live.subscribe(() => redraw((n) => n + 1)), [live]);
}
