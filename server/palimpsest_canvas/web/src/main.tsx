// Draws the recording that the document carries; without one, the page that asks the server.
import { type JSX, render } from "preact";
import { Page } from "./page";
import type { Recording } from "./recording";
import { Viewer } from "./viewer";

function Replay({ recording }: { recording: Recording }): JSX.Element {
  const { strength, steps, temperature, seed } = recording.settings;
  const settings = [`strength ${strength}`, steps === null ? "" : `at most ${steps} steps`, temperature === null ? "" : `temperature ${temperature}`, `seed ${seed}`];
  return (
    <>
      <header class="top">
        <h1>Palimpsest canvas</h1>
        <span class="name">{recording.name}</span>
        <span class="quiet">{[recording.model, recording.device, ...settings].filter(Boolean).join(", ")}</span>
      </header>
      <Viewer recording={recording} running={false} revision={0} editing={null} />
    </>
  );
}

function begin(): void {
  const carried = document.getElementById("recording")?.textContent;
  const recording = carried ? (JSON.parse(carried) as Recording) : null;
  render(recording ? <Replay recording={recording} /> : <Page />, document.getElementById("page")!);
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
else begin();
