// The commands that decide about one place of a preview, by the cursor or by a link above it.

import {
  Disposable,
  Position,
  Range,
  Selection,
  TextEditorRevealType,
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
  const judge = (verdict: Verdict, index?: number): void => {
    const { document, decision } = here() ?? {};
    const hunk = index === undefined ? decision?.nearest(cursorIn(document)) : decision?.hunks[index];
    if (!document || !decision?.waits || !hunk) {
      return;
    }
    decision.judge(hunk, verdict);
    if (decision.waits) {
      changed(document);
      goTo(document, decision.nearest(hunk.change.range.start.line));
    }
  };
  const go = (step: 1 | -1): void => {
    const { document, decision } = here() ?? {};
    if (document && decision?.waits) {
      goTo(document, decision.next(cursorIn(document), step));
    }
  };
  return Disposable.from(
    commands.registerCommand("palimpsest.acceptHunk", (index?: number) => judge("accepted", index)),
    commands.registerCommand("palimpsest.rejectHunk", (index?: number) => judge("rejected", index)),
    commands.registerCommand("palimpsest.nextHunk", () => go(1)),
    commands.registerCommand("palimpsest.previousHunk", () => go(-1)),
  );
}

function cursorIn(document: TextDocument | undefined): number {
  const editor = window.activeTextEditor;
  return editor && editor.document === document ? editor.selection.active.line : 0;
}

function goTo(document: TextDocument, hunk: Hunk | undefined): void {
  const editor = window.activeTextEditor;
  if (hunk && editor?.document === document) {
    const { line } = hunk.change.range.start;
    const at = new Position(line, document.lineAt(line).firstNonWhitespaceCharacterIndex);
    editor.selection = new Selection(at, at);
    editor.revealRange(new Range(at, at), TextEditorRevealType.InCenterIfOutsideViewport);
  }
}
