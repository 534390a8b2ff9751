// The panel of one token: what else it could have been, and what the user can do with it.
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Chip } from "./code";
import { described, type Edit } from "./edits";
import type { Slot } from "./recording";
import { level, percent, spoken, STATES } from "./words";

interface Props {
  slot: Slot;
  title: string;
  edit: Edit | undefined;
  blocked: string | null; // why nothing can be changed here; null: it can; "": there is nothing to say about it
  onEdit: (edit: Edit | null) => void;
  onClose: () => void;
}

export function Panel({ slot, title, edit, blocked, onEdit, onClose }: Props): JSX.Element {
  const [text, entropy, state, , choices] = slot;
  const heading = useRef<HTMLHeadingElement>(null);
  // Of this text only: an effect that put it back would come late, and over what was typed meanwhile.
  const [entry, setEntry] = useState({ of: text, typed: text });
  const typed = entry.of === text ? entry.typed : text;
  useLayoutEffect(() => heading.current?.focus(), []); // before the next key can come
  const editable = blocked === null;
  return (
    <section class="card panel" aria-labelledby="panel-title">
      <header>
        <h2 id="panel-title" tabIndex={-1} ref={heading}>Token <Chip text={text} /></h2>
        <button type="button" class="close" aria-label="Close" title="Close (Escape)" onClick={onClose}>
          <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 4l1-1 4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4z" /></svg>
        </button>
      </header>
      <p class="quiet">
        {title}: {STATES[state]}
        {state === "p" ? "; it was given, not chosen" : `, entropy ${entropy.toFixed(2)} nats`}
        {edit ? `; ${described(edit)}` : ""}
      </p>
      {choices.length > 0 && (
        <table>
          <caption>What could stand here</caption>
          <thead><tr><th scope="col">token</th><th scope="col">probability</th>{editable && <th scope="col"><span class="unseen">take it</span></th>}</tr></thead>
          <tbody>
            {choices.map((choice) => (
              <tr key={choice[2]} class={choice[2] === slot[3] ? "present" : ""}>
                <th scope="row"><Chip text={choice[0]} />{choice[2] === slot[3] && <span class="unseen"> stands there</span>}</th>
                <td>
                  <span class={`probability level-${level(entropy)}`} style={{ width: `${(choice[1] * 60).toFixed(1)}%` }} aria-hidden="true" />
                  {percent(choice[1])}
                </td>
                {editable && (
                  <td>
                    <button type="button" aria-label={`Take ${spoken(choice[0])}`} aria-pressed={edit?.kind === "take" && edit.choice[2] === choice[2]} onClick={() => onEdit({ kind: "take", choice })}>Take</button>
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {editable && (
        <div class="actions">
          <button type="button" aria-pressed={edit?.kind === "noise"} onClick={() => onEdit({ kind: "noise" })}>Renoise</button>
          <button type="button" aria-pressed={edit?.kind === "pin"} onClick={() => onEdit({ kind: "pin" })}>Pin</button>
          {edit && <button type="button" onClick={() => onEdit(null)}>Leave as it was</button>}
          <form onSubmit={(event) => { event.preventDefault(); onEdit({ kind: "write", text: typed }); }}>
            <label>
              Type over it
              <textarea rows={Math.min(4, typed.split("\n").length)} spellcheck={false} value={typed} onInput={(event) => setEntry({ of: text, typed: event.currentTarget.value })} />
            </label>
            <button type="submit">Replace</button>
          </form>
        </div>
      )}
      {blocked && <p class="quiet">{blocked}</p>}
    </section>
  );
}
