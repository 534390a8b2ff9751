// The form that asks for a fill, and its fields as the server takes them.
import type { JSX } from "preact";
import type { ServerState, Wishes } from "./protocol";

interface Props {
  state: ServerState;
  wishes: Wishes;
  change: (changed: Partial<Wishes>) => void;
  running: boolean;
  possible: boolean;
  onFill: () => void;
  onCancel: () => void;
}

export const FIRST: Wishes = { strength: 1, steps: null, temperature: null, seed: 0, model: null, beside: false };

export function WishForm({ state, wishes, change, running, possible, onFill, onCancel }: Props): JSX.Element {
  const number = (text: string): number | null => (text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text));
  return (
    <form class="card wishes" aria-label="Fill" onSubmit={(event) => { event.preventDefault(); onFill(); }}>
      <label class="wide">
        Model
        <select value={wishes.model ?? ""} onChange={(event) => change({ model: event.currentTarget.value || null })}>
          <option value="">{state.model || "the one in use"}</option>
          {state.models.filter((each) => each !== state.model).map((each) => <option key={each} value={each}>{each}</option>)}
        </select>
      </label>
      <label class="wide">
        <span>Strength <span class="quiet">{wishes.strength === 1 ? "all anew" : `${Math.round(100 - wishes.strength * 100)} % of the tokens stay`}</span></span>
        <input type="range" min={0.05} max={1} step={0.05} value={wishes.strength} onInput={(event) => change({ strength: Number(event.currentTarget.value) })} />
      </label>
      <label>
        Steps
        <input type="number" min={1} max={1000} step={1} placeholder="auto" value={wishes.steps ?? ""} onInput={(event) => change({ steps: number(event.currentTarget.value) })} />
      </label>
      <label>
        Temperature
        <input type="number" min={0} max={10} step="any" placeholder="auto" value={wishes.temperature ?? ""} onInput={(event) => change({ temperature: number(event.currentTarget.value) })} />
      </label>
      <label>
        Seed
        <input type="number" min={0} max={4294967295} step={1} required value={wishes.seed} onInput={(event) => change({ seed: number(event.currentTarget.value) ?? 0 })} />
      </label>
      <label class="wide check">
        <input type="checkbox" checked={wishes.beside} onChange={(event) => change({ beside: event.currentTarget.checked })} />
        the same weights left to right, too
      </label>
      <div class="buttons wide">
        <button type="submit" class="primary" disabled={!possible || running}>Fill</button>
        <button type="button" disabled={!running} onClick={onCancel}>Cancel</button>
      </div>
    </form>
  );
}
