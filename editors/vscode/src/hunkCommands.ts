// The commands that decide about one place of a preview, by the cursor or by a link above it.

import {
  Disposable,
  Position,
  Range,
  Selection,
  TextEditorRevealType,
  TextEditorSelectionChangeKind,
  commands,
  window,
  type TextDocument,
} from "vscode";
import type { Decision, Hunk, Verdict } from "./decision";

/** A document, and what there is to decide about it. */
export interface Waiting {
  readonly document: TextDocument;
  readonly decision?: Decision;
}

/** here: what the commands are about now. changed: called after a verdict, if there is more to decide. */
export function hunkCommands(
  here: () => Waiting | undefined,
  changed: (document: TextDocument) => void,
): Disposable {
  const cursor = new Cursor();
  const judge = (verdict: Verdict, index?: number): void => {
    const { document, decision } = here() ?? {};
    const hunk = index === undefined ? decision?.nearest(cursor.lineIn(document)) : decision?.hunks[index];
    if (!document || !decision?.waits || !hunk) {
      return;
    }
    decision.judge(hunk, verdict);
    if (decision.waits) {
      changed(document);
      cursor.goTo(document, decision.nearest(hunk.change.range.start.line));
    }
  };
  const go = (step: 1 | -1): void => {
    const { document, decision } = here() ?? {};
    if (document && decision?.waits) {
      cursor.goTo(document, decision.next(cursor.lineIn(document), step));
    }
  };
  return Disposable.from(
    cursor,
    commands.registerCommand("palimpsest.acceptHunk", (index?: number) => judge("accepted", index)),
    commands.registerCommand("palimpsest.rejectHunk", (index?: number) => judge("rejected", index)),
    commands.registerCommand("palimpsest.nextHunk", () => go(1)),
    commands.registerCommand("palimpsest.previousHunk", () => go(-1)),
  );
}

/**
 * Where the cursor is, by what was last done. When it is put somewhere, the window says so a moment later, and until then
 * what it says is older: a key that comes meanwhile is about the place that the key before it led to.
 */
class Cursor implements Disposable {
  /** Lines where it was put, of which the window has not told yet. */
  readonly #due: number[] = [];
  #document: TextDocument | undefined;
  readonly #moves = window.onDidChangeTextEditorSelection(({ textEditor, selections, kind }) => {
    if (textEditor.document === this.#document) {
      const ours = kind !== TextEditorSelectionChangeKind.Keyboard && kind !== TextEditorSelectionChangeKind.Mouse;
      const told = ours ? this.#due.indexOf(selections[0]?.active.line ?? -1) : -1;
      this.#due.splice(0, told < 0 ? this.#due.length : told + 1);
    }
  });

  lineIn(document: TextDocument | undefined): number {
    const editor = window.activeTextEditor;
    if (!editor || editor.document !== document) {
      return 0;
    }
    return (document === this.#document ? this.#due.at(-1) : undefined) ?? editor.selection.active.line;
  }

  goTo(document: TextDocument, hunk: Hunk | undefined): void {
    const editor = window.activeTextEditor;
    if (hunk && editor?.document === document) {
      const { line } = hunk.change.range.start;
      const at = new Position(line, document.lineAt(line).firstNonWhitespaceCharacterIndex);
      if (document !== this.#document) {
        this.#document = document;
        this.#due.length = 0;
      }
      this.#due.push(line);
      editor.selection = new Selection(at, at);
      editor.revealRange(new Range(at, at), TextEditorRevealType.InCenterIfOutsideViewport);
    }
  }

  dispose(): void {
    this.#moves.dispose();
  }
}
