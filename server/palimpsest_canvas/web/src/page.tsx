// The page with a server behind it: what it asks for, what runs, and what went wrong.
import type { ComponentChildren, JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { Live, useLive } from "./live";
import { around, type Doc, type Run, type Wishes } from "./protocol";
import type { Recording } from "./recording";
import { Scratch } from "./scratch";
import { Viewer } from "./viewer";
import { FIRST, WishForm } from "./wishes";

export function Page(): JSX.Element {
  const live = useMemo(() => new Live(), []);
  const [wishes, setWishes] = useState<Wishes>(FIRST);
  useLive(live);
  const { state, run } = live;
  const running = run?.running ?? false;
  const waiting = useMemo(() => (live.doc ? empty(live.doc, wishes) : null), [live.doc]);
  const recording = live.shown === null ? waiting : live.recording;
  const fill = (): void => void live.fill(wishes, null);
  return (
    <>
      <header class="top">
        <h1>Palimpsest canvas</h1>
        <span class="name">{recording?.name ?? live.doc?.name ?? ""}</span>
        {state && <span class="quiet">{[state.model, state.device, state.state].filter(Boolean).join(", ")}</span>}
      </header>
      <Messages live={live} />
      {state && (
        <Shown
          key={live.shown ?? "none"}
          recording={recording}
          live={live}
          running={running}
          wishes={wishes}
        >
          <WishForm
            state={state}
            wishes={wishes}
            change={(changed) => setWishes({ ...wishes, ...changed })}
            running={running}
            possible={live.doc !== null && !live.gone}
            onFill={fill}
            onCancel={() => void live.cancel()}
          />
          {live.doc?.uri === null && !state.document && (
            <button type="button" onClick={() => live.adopt(null)}>Change the text</button>
          )}
          <Runs runs={[...live.runs].reverse()} shown={live.shown} onShow={(id) => live.show(id)} />
        </Shown>
      )}
    </>
  );
}

interface ShownProps {
  recording: Recording | null;
  live: Live;
  running: boolean;
  wishes: Wishes;
  children: ComponentChildren;
}

function Shown({ recording, live, running, wishes, children }: ShownProps): JSX.Element {
  if (!recording) {
    return (
      <div class="viewer">
        <main>
          {live.shown === null ? (
            <Scratch old={live.scratch} onUse={(doc) => live.adopt(doc)} />
          ) : (
            <p class="card">The fill begins.</p>
          )}
        </main>
        <aside>{children}</aside>
      </div>
    );
  }
  const editor = live.state?.editor ?? false;
  return (
    <Viewer
      recording={recording}
      running={running}
      revision={live.revision}
      editing={{
        blocked: live.body ? "" : "This fill was made at another place than the page has open, so its tokens cannot be changed.",
        settle: (canvas) => void live.fill(wishes, canvas),
        hold: (held) => live.hold(held),
      }}
      sending={(texts) => (
        <div class="buttons">
          {editor && <button type="button" class="primary" disabled={!texts.some(Boolean)} onClick={() => void live.apply(texts)}>Send to the editor</button>}
          <a class="button" href={`/api/runs/${live.shown}/replay.html`} download="fill.html">Save as a page</a>
          <a class="button" href={`/api/runs/${live.shown}/recording`} download="fill.json">Save the recording</a>
        </div>
      )}
    >
      {children}
    </Viewer>
  );
}

function Messages({ live }: { live: Live }): JSX.Element {
  const reason = live.state?.reason;
  return (
    <div class="messages">
      <div role="alert">
        {live.gone && <p class="trouble">{live.gone}</p>}
        {live.trouble && (
          <p class="trouble">{live.trouble} <button type="button" onClick={() => live.dismiss()}>Dismiss</button></p>
        )}
      </div>
      <div role="status">
        {reason && <p class="note">{reason}</p>}
        {live.moved && (
          <p class="note">
            {live.doc!.uri === live.state!.document!.uri ? `${live.doc!.name} has changed in the editor since.` : `Your editor is in ${live.state!.document!.name} now.`}{" "}
            <button type="button" onClick={() => live.adopt(live.state!.document)}>Take what is there now</button>
          </p>
        )}
        {live.notice && <p class="note">{live.notice}</p>}
      </div>
    </div>
  );
}

function Runs({ runs, shown, onShow }: { runs: Run[]; shown: string | null; onShow: (id: string) => void }): JSX.Element {
  return (
    <section class="card runs" aria-labelledby="runs-title">
      <h2 id="runs-title">Fills</h2>
      {runs.length === 0 && <p class="quiet">None yet. Those of your editor appear here, too.</p>}
      <ul>
        {runs.map((run, index) => (
          <li key={run.id}>
            <button type="button" aria-pressed={run.id === shown} onClick={() => onShow(run.id)}>
              {runs.length - index}. {run.name} <span class="quiet">{run.source === "editor" ? "in the editor" : "here"}{run.running ? ", at work" : ""}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

// Returns what is drawn before there is a run.
function empty(doc: Doc, wishes: Wishes): Recording {
  const [prefix, hole, suffix] = around(doc);
  const settings = { strength: wishes.strength, steps: wishes.steps, temperature: wishes.temperature, seed: wishes.seed };
  const { name, language } = doc;
  return { format: 1, name, language, model: "", device: "", prefix, between: [], suffix, hole, settings, frames: [], outcome: null, beside: null };
}
