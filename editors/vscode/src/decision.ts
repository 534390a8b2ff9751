// What waits to be accepted: all of it, or hunk by hunk. What is taken is written as one edit, when all is decided.

import { CodeLens, Range, type TextDocument } from "vscode";
import { hunks } from "./hunks";
import type { Change } from "./rows";

export type Verdict = "open" | "accepted" | "rejected";

/** One of the places that differ. */
export interface Hunk {
  readonly change: Change;
  verdict: Verdict;
}

/** About what one command wrote. hunks: none, if there is one place only, which is accepted or rejected as a whole. */
export class Decision {
  readonly hunks: readonly Hunk[];
  /** The changes to make, the very ones that were asked about if all are accepted; or undefined for none. */
  readonly decided: Promise<readonly Change[] | undefined>;
  #decide: (changes: readonly Change[] | undefined) => void = () => undefined;
  #waits = true;

  constructor(
    readonly all: readonly Change[],
    document: TextDocument,
  ) {
    const found = hunks(all, (line) => document.lineAt(line).text, document.lineCount);
    this.hunks = found.length > 1 ? found.map((change) => ({ change, verdict: "open" })) : [];
    this.decided = new Promise((resolve) => (this.#decide = resolve));
  }

  /** Nobody has decided yet. */
  get waits(): boolean {
    return this.#waits;
  }

  /** What is to be seen of it. */
  get shown(): readonly Change[] {
    return this.#without("rejected") ?? [];
  }

  /** Make all changes but those that were rejected; or none, whatever was accepted. */
  settle(accepted: boolean): void {
    this.#end(accepted ? this.#without("rejected") : undefined);
  }

  /** Make the changes that were accepted, and no others. */
  keep(): void {
    this.#end(this.#without("rejected", "open"));
  }

  /** Decide about one hunk; after the last one the changes are made. */
  judge(hunk: Hunk, verdict: Verdict): void {
    hunk.verdict = verdict;
    if (!this.hunks.some((each) => each.verdict === "open")) {
      this.keep();
    }
  }

  /** The open hunk that is nearest to a line. */
  nearest(line: number): Hunk | undefined {
    const away = ({ change: { range } }: Hunk): number =>
      Math.max(range.start.line - line, line - range.end.line, 0);
    const open = this.hunks.filter((each) => each.verdict === "open");
    return open.sort((one, other) => away(one) - away(other))[0];
  }

  /** The next hunk after a line, or before it, from the last one on to the first. */
  next(line: number, step: 1 | -1): Hunk | undefined {
    const shown = this.hunks.filter((each) => each.verdict !== "rejected");
    const beyond = ({ change }: Hunk): boolean => (change.range.start.line - line) * step > 0;
    return step > 0 ? (shown.find(beyond) ?? shown[0]) : (shown.findLast(beyond) ?? shown.at(-1));
  }

  /** Links above the lines that they are about. */
  lenses(): CodeLens[] {
    const first = this.all[0]?.range.start.line ?? 0;
    const count = (verdict: Verdict): number => this.hunks.filter((each) => each.verdict === verdict).length;
    const accept = !this.hunks.length ? "Accept" : count("open") < this.hunks.length ? "Accept the Rest" : "Accept All";
    const whole = [
      lens(first, `$(check) ${accept} (Tab)`, "palimpsest.acceptPreview"),
      lens(first, `$(close) ${this.hunks.length ? "Reject All" : "Reject"} (Escape)`, "palimpsest.rejectPreview"),
      ...(count("accepted")
        ? [lens(first, `$(save) Write Accepted (${count("accepted")})`, "palimpsest.keepAccepted")]
        : []),
      lens(first, "$(diff) Compare", "palimpsest.comparePreview"),
    ];
    return [...whole, ...this.hunks.flatMap((hunk, index) => this.#lensesOf(hunk, index))];
  }

  #lensesOf({ change, verdict }: Hunk, index: number): CodeLens[] {
    const { line } = change.range.start;
    const said = verdict === "open" ? "" : `, ${verdict}`;
    return [
      lens(line, `${index + 1} of ${this.hunks.length}${said}`, ""),
      ...(verdict !== "accepted" ? [lens(line, "$(check) Accept This", "palimpsest.acceptHunk", index)] : []),
      ...(verdict !== "rejected" ? [lens(line, "$(close) Reject This", "palimpsest.rejectHunk", index)] : []),
    ];
  }

  #without(...verdicts: Verdict[]): readonly Change[] | undefined {
    const left = this.hunks.filter(({ verdict }) => !verdicts.includes(verdict));
    if (left.length === this.hunks.length) {
      return this.all;
    }
    return left.length ? left.map(({ change }) => change) : undefined;
  }

  #end(changes: readonly Change[] | undefined): void {
    this.#waits = false;
    this.#decide(changes);
  }
}

function lens(line: number, title: string, command: string, ...args: readonly unknown[]): CodeLens {
  return new CodeLens(new Range(line, 0, line, 0), { title, command, arguments: [...args] });
}
