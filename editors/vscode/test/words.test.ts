import assert from "node:assert/strict";
import { test } from "node:test";
import type { Status } from "../src/protocol";
import { sentence, words, type Absent } from "../src/words";

const READY: Status = { state: "ready", reason: "", model: "small", device: "cpu", lastEmpty: null, paused: [] };
const nothing = (reason: string): Partial<Status> => ({ lastEmpty: { request: "any", reason } });

const cases: readonly [Status | Absent, string, string][] = [
  [READY, "sparkle", "Palimpsest: ready; small on cpu"],
  [
    { ...READY, ...nothing("it is ignored by .gitignore") },
    "circle-slash",
    "Palimpsest: ready; small on cpu; nothing to show: it is ignored by .gitignore",
  ],
  [
    { ...READY, ...nothing("still denoising") },
    "sparkle",
    "Palimpsest: ready; small on cpu; nothing to show: still denoising",
  ],
  [
    { ...READY, lastDoubt: "about 12 % likely to be right" },
    "sparkle",
    "Palimpsest: ready; small on cpu; shown because you asked: about 12 % likely to be right",
  ],
  [{ ...READY, state: "busy" }, "sync~spin", "Palimpsest: busy; small on cpu"],
  [{ ...READY, paused: ["paused for python"] }, "debug-pause", "Palimpsest: paused for python; small on cpu"],
  [
    { ...READY, state: "paused", reason: "paused", paused: ["paused"] },
    "debug-pause",
    "Palimpsest: paused; small on cpu",
  ],
  [
    { ...READY, state: "error", reason: "no checkpoint", model: "", device: "" },
    "error",
    "Palimpsest: error: no checkpoint",
  ],
  [{ absent: "missing", reason: "it is not there" }, "error", "Palimpsest: it is not there"],
  [{ absent: "idle", reason: "it waits" }, "circle-large-outline", "Palimpsest: it waits"],
];

for (const [status, icon, text] of cases) {
  test(`status: ${text}`, () => {
    assert.equal(words(status).icon, icon);
    assert.equal(sentence(words(status)), text);
  });
}
