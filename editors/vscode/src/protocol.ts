// What goes over the wire beside the standard: docs/protocol.md and docs/actions.md have the words to it.

export interface Position {
  readonly line: number;
  readonly character: number;
}

export interface Range {
  readonly start: Position;
  readonly end: Position;
}

export type State = "starting" | "loading" | "ready" | "busy" | "paused" | "error";

/** `palimpsest/status`. */
export interface Status {
  readonly state: State;
  readonly reason: string;
  readonly model: string;
  readonly device: string;
  readonly lastEmpty: { readonly request: string; readonly reason: string } | null;
  /** How likely the last suggestion is to be right, if it is shown only because the user asked. */
  readonly lastDoubt?: string;
  readonly paused: readonly string[];
}

/** `palimpsest/draft`. hole and range are there for commands only. */
export interface Draft {
  readonly uri: string;
  readonly version: number;
  readonly position: Position;
  readonly hole?: number;
  readonly range?: Range;
  readonly text: string;
  readonly settledShare: number;
  readonly step: number;
  readonly final: boolean;
}

/** An edit of `textDocument/copilotInlineEdit`. */
export interface NextEdit {
  readonly text: string;
  readonly range: Range;
  readonly textDocument: { readonly uri: string; readonly version: number };
  readonly command: { readonly title: string; readonly command: string; readonly arguments: readonly unknown[] };
  readonly palimpsest: { readonly id: string; readonly reason: string };
}

/** The argument of `palimpsest.run`. */
export interface Run {
  readonly action: string;
  readonly uri: string;
  readonly range?: Range;
  readonly version?: number;
  readonly problems?: readonly Range[];
  readonly instruction?: string;
  readonly diagnostics?: readonly { readonly range: Range; readonly message: string }[];
  readonly number?: number;
}

/** The result of `palimpsest.run`. */
export interface Ran {
  readonly applied: boolean;
  readonly reason: string | null;
  readonly holes: number;
  readonly filled: number;
  /** Of instructions: what there is to go back and forward to, or null. */
  readonly conversation?: Conversation | null;
  /** Of `explain`: markdown. */
  readonly explanation?: string;
  /** Of `test`: the file that it was written into, or null. */
  readonly uri?: string | null;
}

/** version: the one that stands there, of so many answers; 0 is what stood there first. */
export interface Conversation {
  readonly version: number;
  readonly versions: number;
}

/** The result of `palimpsest.canvas`. url: null if there is none, which the server explains. shown: a browser has it already. */
export interface Canvas {
  readonly url: string | null;
  readonly shown?: boolean;
}

/** The argument and the result of `palimpsest.pause`. */
export interface Pause {
  readonly scope: "all" | "language" | "folder" | "document";
  readonly uri?: string;
  readonly paused?: boolean;
}

export interface Paused {
  readonly paused: boolean;
  readonly what: string;
}

export const RUN = "palimpsest.run";
export const FILL_SELECTION = "palimpsest.fillSelection";
export const CANVAS = "palimpsest.canvas";
export const PAUSE = "palimpsest.pause";
