// The file as it is beside the file as it would be, in the editor's own view of differences.

import { Disposable, EventEmitter, Position, TabInputTextDiff, Uri, commands, window, workspace, type Tab, type TextDocument } from "vscode";
import type { Change } from "./rows";

const SCHEME = "palimpsest-preview";
const BEFORE = "before";

/** What is compared: a document, and changes that wait to be accepted. */
export interface Compared {
  readonly document: TextDocument;
  readonly changes: readonly Change[];
  readonly title: string;
}

/** Both sides are documents of ours: over the file's own the preview is painted. */
export class Comparison implements Disposable {
  readonly #provider: Disposable;
  readonly #changed = new EventEmitter<Uri>();

  /** all: everything that can be compared now. */
  constructor(readonly all: () => readonly Compared[]) {
    this.#provider = workspace.registerTextDocumentContentProvider(SCHEME, {
      onDidChange: this.#changed.event,
      provideTextDocumentContent: (uri) => {
        const compared = this.of(uri);
        const text = compared?.document.getText() ?? "";
        return uri.fragment === BEFORE || !compared ? text : changed(compared.document, compared.changes);
      },
    });
  }

  dispose(): void {
    Disposable.from(this.#provider, this.#changed).dispose();
  }

  /** What one of its sides is about. */
  of(uri: Uri): Compared | undefined {
    return uri.scheme === SCHEME
      ? this.all().find(({ document }) => document.uri.toString() === uri.query)
      : undefined;
  }

  async open({ document, title }: Omit<Compared, "changes">): Promise<void> {
    const [before, after] = sides(document);
    await commands.executeCommand("vscode.diff", before, after, title, { preview: true });
  }

  /** Other changes are to be made than before. */
  refresh(document: TextDocument): void {
    this.#changed.fire(sides(document)[1]);
  }

  /** There is nothing to decide any more. */
  async close(document: TextDocument): Promise<void> {
    const about = ({ input }: Tab): boolean =>
      input instanceof TabInputTextDiff &&
      input.modified.scheme === SCHEME &&
      input.modified.query === document.uri.toString();
    await window.tabGroups.close(window.tabGroups.all.flatMap((group) => group.tabs).filter(about));
  }
}

function sides({ uri }: TextDocument): readonly [Uri, Uri] {
  const side = (fragment: string): Uri =>
    Uri.from({ scheme: SCHEME, path: uri.path, query: uri.toString(), fragment });
  return [side(BEFORE), side("after")];
}

/** The text of a document with the changes in it. */
function changed(document: TextDocument, changes: readonly Change[]): string {
  const offset = ({ line, character }: Change["range"]["start"]): number =>
    document.offsetAt(new Position(line, character));
  const text = document.getText();
  let [written, at] = ["", 0];
  for (const { range, text: now } of [...changes].sort((a, b) => offset(a.range.start) - offset(b.range.start))) {
    written += text.slice(at, offset(range.start)) + now;
    at = offset(range.end);
  }
  return written + text.slice(at);
}
