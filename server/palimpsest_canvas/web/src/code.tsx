// The code pane: the text around the holes, and their tokens. It draws what it is given and says which token was opened.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { described, type Edit } from "./edits";
import type { Lane, Slot } from "./recording";
import { glyphs, label, level } from "./words";

const FLASH_MS = 300;

export interface Place {
  hole: number;
  index: number;
}

interface Props {
  name: string; // of the pane, for those who do not see it
  texts: string[]; // around the holes: one more than there are holes
  old: string; // the text of the one hole before the first frame
  lane: Lane | null;
  before: Lane | null; // the lane one frame earlier
  frame: number;
  selected: Place | null;
  edits?: ReadonlyMap<number, Edit> | undefined;
  onOpen: (place: Place) => void;
}

// Draws line ends with a glyph that is no part of the text, so that what is copied is the code.
function body(text: string): JSX.Element | string | (JSX.Element | string)[] {
  const lines = text.split("\n");
  if (lines.length === 1) return text;
  return lines.flatMap((line, at) => (at < lines.length - 1 ? [line, <i class="end" />, "\n"] : [line]));
}

interface TokenProps {
  slot: Slot;
  index: number;
  changed: boolean;
  edit: Edit | undefined;
  focusable: boolean;
  selected: boolean;
}

function token({ slot, index, changed, edit, focusable, selected }: TokenProps): JSX.Element {
  const [text, entropy, state] = slot;
  const kinds = ["token", state, `level-${level(entropy)}`];
  if (text === "") kinds.push("filler");
  else if (text.trim() === "") kinds.push("blank");
  if (changed) kinds.push("changed");
  if (edit) kinds.push(`edit-${edit.kind}`);
  return (
    <span
      key={index}
      class={kinds.join(" ")}
      role="option"
      data-index={index}
      tabIndex={focusable ? 0 : -1}
      aria-selected={selected}
      aria-label={edit ? `${label(slot)}, ${described(edit)}` : label(slot)}
    >
      {edit?.kind === "write" ? body(edit.text) : edit?.kind === "take" ? body(edit.choice[0]) : body(text)}
    </span>
  );
}

// Returns all that a token looks like. Preact skips what it is given a second time, and most tokens stay as they were.
function signature({ slot, changed, edit, focusable, selected }: TokenProps): string {
  const sure = slot[2] === "o" ? slot[1].toFixed(1) + level(slot[1]) : "";
  const edited = edit ? edit.kind + (edit.kind === "write" ? edit.text : edit.kind === "take" ? edit.choice[0] : "") : "";
  return [slot[2], sure, changed, focusable, selected, edited, slot[0]].join("|");
}

export function Code({ name, texts, old, lane, before, frame, selected, edits, onOpen }: Props): JSX.Element {
  const [at, setAt] = useState<Place>({ hole: 0, index: 0 });
  const pane = useRef<HTMLDivElement>(null);
  const first = useRef(true);
  const drawn = useRef(new Map<string, [signature: string, element: JSX.Element]>());
  useEffect(() => {
    if (!first.current) return;
    first.current = !lane;
    // The hole is what the page is about: with a long prefix, it would not be in sight, even before the first step.
    const hole = pane.current?.querySelector<HTMLElement>(".hole");
    if (hole && pane.current) pane.current.scrollTop = hole.offsetTop - pane.current.clientHeight / 3;
  }, [lane]);

  // One change of the pane, and not an animation of each token: a step has to be drawn in a fraction of a frame.
  useLayoutEffect(() => {
    pane.current?.classList.add("flash");
    const timer = setTimeout(() => pane.current?.classList.remove("flash"), FLASH_MS);
    return () => clearTimeout(timer);
  }, [frame]);
  const kept = (hole: number, props: TokenProps): JSX.Element => {
    const place = `${hole}/${props.index}`;
    const now = signature(props);
    const before = drawn.current.get(place);
    if (before?.[0] === now) return before[1];
    const element = token(props);
    drawn.current.set(place, [now, element]);
    return element;
  };

  const placed = (target: EventTarget | null): Place | null => {
    const token = target instanceof Element ? target.closest<HTMLElement>("[data-index]") : null;
    const hole = token?.closest<HTMLElement>("[data-hole]");
    return token && hole ? { hole: Number(hole.dataset["hole"]), index: Number(token.dataset["index"]) } : null;
  };
  const open = (target: EventTarget | null): void => {
    const place = placed(target);
    if (!place) return;
    setAt(place);
    onOpen(place);
    // On a small screen, the panel covers the lower half.
    if (matchMedia("(max-width: 900px)").matches) (target as Element).scrollIntoView({ block: "start" });
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const from = placed(event.target);
    if (!from || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      open(event.target);
    } else {
      const tokens = [...pane.current!.querySelectorAll<HTMLElement>("[data-index]")];
      const to = step(tokens, tokens.indexOf(event.target as HTMLElement), event.key);
      if (!to) return;
      setAt(placed(to)!);
      to.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const holes = lane?.holes ?? texts.slice(1).map(() => []);
  const within = (lane?.holes[at.hole]?.length ?? 0) > at.index;
  return (
    <div class="code" ref={pane} tabIndex={0} role="group" aria-label={name} onClick={(event) => open(event.target)} onKeyDown={onKeyDown}>
      <span class="around">{texts[0]}</span>
      {holes.map((slots, hole) => (
        <>
          <span
            class={slots.length ? "hole" : "hole waiting"}
            data-hole={hole}
            {...(slots.length ? { role: "listbox", "aria-label": holes.length > 1 ? `Hole ${hole + 1}` : "Hole" } : {})}
          >
            {slots.length === 0 && (old && hole === 0 ? <del>{old}</del> : <i class="nothing" />)}
            {slots.map((slot, index) =>
              kept(hole, {
                slot,
                index,
                changed: before !== null && before.holes[hole]?.[index]?.[3] !== slot[3],
                edit: hole === 0 ? edits?.get(index) : undefined,
                focusable: within ? at.hole === hole && at.index === index : hole === 0 && index === 0,
                selected: selected?.hole === hole && selected.index === index,
              }),
            )}
          </span>
          <span class="around">{texts[hole + 1]}</span>
        </>
      ))}
    </div>
  );
}

// Returns the token that a key leads to from another: left and right by order, up and down by where they are drawn.
function step(tokens: HTMLElement[], from: number, key: string): HTMLElement | undefined {
  if (key === "ArrowLeft") return tokens[from - 1] ?? tokens[from];
  if (key === "ArrowRight") return tokens[from + 1] ?? tokens[from];
  if (key === "Home") return tokens[0];
  if (key === "End") return tokens.at(-1);
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const boxes = tokens.map((token) => token.getClientRects()[0] ?? token.getBoundingClientRect());
  const here = boxes[from]!;
  const down = key === "ArrowDown";
  let best = from;
  let distance = Infinity;
  boxes.forEach((box, index) => {
    const rows = down ? box.top - here.top : here.top - box.top;
    const apart = rows * 1000 + Math.abs(box.left - here.left);
    if (rows > here.height / 2 && apart < distance) [best, distance] = [index, apart];
  });
  return tokens[best];
}

export function Chip({ text }: { text: string }): JSX.Element {
  return <code class="chip">{glyphs(text)}</code>;
}
