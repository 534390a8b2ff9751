// What the colours and lines of tokens mean, and the keys of the page.
import type { JSX } from "preact";
import { LEVELS } from "./words";

const KEYS = [
  ["Space", "play or pause"],
  ["← →", "one step back or forward; between tokens, the token before or after"],
  [", .", "one step back or forward, everywhere"],
  ["Home End", "to the beginning or the end"],
  ["Tab", "to the next control; in the code, to its tokens"],
  ["Enter", "what else the token could have been"],
  ["Escape", "close that"],
];

export function Legend(): JSX.Element {
  return (
    <details class="card legend">
      <summary>Colours and keys</summary>
      <p>
        A token is coloured and underlined by its entropy in nats: how unsure the model is of it.
      </p>
      <ul class="scale">
        {[...LEVELS, Infinity].map((end, at) => (
          <li key={at}><span class={`token o level-${at}`}>token</span> {at < LEVELS.length ? `below ${end}` : "more"}</li>
        ))}
        <li><span class="token s">token</span> settled</li>
        <li><span class="token p">token</span> pinned: it was given</li>
        <li><span class="token o level-0 filler" /> filler: nothing stands here</li>
        <li><span class="around">token</span> the code around</li>
      </ul>
      <p>A token flashes, or has a line above it if motion is to be reduced, when it is another one than in the step before.</p>
      <dl>
        {KEYS.map(([key, words]) => [<dt key={key}><kbd>{key}</kbd></dt>, <dd>{words}</dd>])}
      </dl>
    </details>
  );
}
