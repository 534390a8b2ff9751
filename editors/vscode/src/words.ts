// The status in words, for the status item and its menu; knows nothing of the editor.

import type { Status } from "./protocol";

/** What the extension itself knows when there is no server to ask. */
export interface Absent {
  readonly absent: "idle" | "missing" | "ended";
  readonly reason: string;
}

export interface Words {
  readonly icon: string;
  readonly severity: "fine" | "warning" | "error";
  /** In a few words: "ready", "paused for python". */
  readonly headline: string;
  /** The model and where it runs, or "". */
  readonly model: string;
  /** Why the last request got nothing, or "". */
  readonly nothing: string;
  /** How likely the last suggestion is to be right, if it is less than was wanted, or "". */
  readonly doubt: string;
  /** Whether everything is paused by hand. */
  readonly paused: boolean;
}

const ICONS = {
  starting: "loading~spin",
  loading: "loading~spin",
  ready: "sparkle",
  busy: "sync~spin",
  paused: "debug-pause",
  error: "error",
} as const;

const PASSING = new Set(["still denoising", "superseded", "cancelled", "the document changed"]);

/** The status in words. */
export function words(status: Status | Absent): Words {
  if ("absent" in status) {
    const severity = status.absent === "idle" ? "fine" : "error";
    const icon = severity === "fine" ? "circle-large-outline" : "error";
    return { icon, severity, headline: status.reason, model: "", nothing: "", doubt: "", paused: false };
  }
  const { state, reason, model, device, lastEmpty, paused } = status;
  const held = state === "ready" || state === "busy" ? paused.join(", ") : "";
  const nothing = lastEmpty?.reason ?? "";
  const doubt = status.lastDoubt ?? "";
  return {
    icon: held ? "debug-pause" : nothing && state === "ready" && !PASSING.has(nothing) ? "circle-slash" : ICONS[state],
    severity: state === "error" ? "error" : "fine",
    headline: reason && reason !== state ? `${state}: ${reason}` : held || state,
    model: model && device ? `${model} on ${device}` : model,
    nothing,
    doubt,
    paused: paused.includes("paused"),
  };
}

/** All of it in one line, for screen readers and the tooltip. */
export function sentence({ headline, model, nothing, doubt }: Words): string {
  const unsure = doubt && `shown because you asked: ${doubt}`;
  const parts = [`Palimpsest: ${headline}`, model, nothing && `nothing to show: ${nothing}`, unsure];
  return parts.filter(Boolean).join("; ");
}
