// The file as it is beside the file as it would be, in the editor's own view of differences.

import { Disposable, Position, TabInputTextDiff, Uri, commands, window, workspace, type Tab, type TextDocument } from "vscode";
import type { Change } from "./rows";

const SCHEME = "palimpsest-preview";
const BEFORE = "before";

/** What is compared: a document, and changes that wait to be accepted. */
export interface Compared {
  readonly document: TextDocument;
  readonly changes?: readonly Change[];
  readonly title: string;
}

/** Both sides are documents of ours: over the file's own the preview is painted. */
export class Comparison implements Disposable {
  readonly #provider: Disposable;

  /** all: everything that can be compared now. */
  constructor(readonly all: () => readonly Compared[]) {
    this.#provider = workspace.registerTextDocumentContentProvider(SCHEME, {
      provideTextDocumentContent: (uri) => {
        const compared = this.of(uri);
        const text = compared?.document.getText() ?? "";
        return uri.fragment === BEFORE || !compared?.changes ? text : changed(compared.document, compared.changes);
      },
    });
  }

  dispose(): void {
    this.#provider.dispose();
  }

  /** What one of its sides is about. */
  of(uri: Uri): Compared | undefined {
    return uri.scheme === SCHEME
      ? this.all().find(({ document }) => document.uri.toString() === uri.query)
      : undefined;
  }

  async open({ document, title }: Compared): Promise<void> {
    const { path } = document.uri;
    const [before, after] = [BEFORE, "after"].map((fragment) =>
      Uri.from({ scheme: SCHEME, path, query: document.uri.toString(), fragment }),
    );
    await commands.executeCommand("vscode.diff", before, after, title, { preview: true });
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
