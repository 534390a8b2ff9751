// A next edit on the screen: the old text struck through with the new one beside it, a mark in the gutter, the reason, and
// where to look if it is out of sight.

import {
  Disposable,
  OverviewRulerLane,
  Range,
  StatusBarAlignment,
  ThemeColor,
  Uri,
  window,
  type DecorationOptions,
  type TextEditor,
} from "vscode";
import { Paint } from "./paint";
import type { Change } from "./rows";
import { direction, pointer } from "./sight";

/** What is shown. line: where it differs from what is there. name: of its document, where that is another one. */
export interface Shown {
  readonly uri: string;
  readonly change: Change;
  readonly line: number;
  readonly reason: string;
  readonly name: string;
  /** Only the mark, until a key is pressed. */
  readonly hidden: boolean;
}

const MARK = new ThemeColor("editorInfo.foreground");

export class NextEditView implements Disposable {
  readonly #paint = new Paint();
  readonly #gutter;
  readonly #reason = window.createTextEditorDecorationType({});
  readonly #pointer = window.createTextEditorDecorationType({ isWholeLine: true });
  readonly #item = window.createStatusBarItem("palimpsest.nextEdit", StatusBarAlignment.Right, 101);

  constructor(media: Uri) {
    this.#gutter = window.createTextEditorDecorationType({
      gutterIconPath: Uri.joinPath(media, "next-edit.svg"),
      gutterIconSize: "contain",
      overviewRulerColor: MARK,
      overviewRulerLane: OverviewRulerLane.Full,
    });
    this.#item.name = "Palimpsest: Next Edit";
    this.#item.command = "palimpsest.nextEdit.go";
  }

  /** Paint it in every editor that is on the screen; nothing, if there is none. True if the edit itself can be seen. */
  show(shown: Shown | undefined): boolean {
    let seen = false;
    for (const editor of window.visibleTextEditors) {
      seen = this.#paintIn(editor, shown) || seen;
    }
    const active = window.activeTextEditor;
    const where = shown && active && this.#outOfSight(active, shown);
    if (where === undefined) {
      this.#item.hide();
    } else {
      this.#item.text = where.replace(/^(.)/, (arrow) => `$(arrow-${{ "↑": "up", "↓": "down" }[arrow] ?? "right"})`);
      this.#item.tooltip = "Palimpsest: go to the next edit";
      this.#item.show();
    }
    return seen;
  }

  dispose(): void {
    Disposable.from(this.#paint, this.#gutter, this.#reason, this.#pointer, this.#item).dispose();
  }

  #outOfSight(editor: TextEditor, shown: Shown): string | undefined {
    if (editor.document.uri.toString() !== shown.uri) {
      return pointer("seen", shown.line, shown.reason, shown.name);
    }
    const spans = editor.visibleRanges.map(({ start, end }) => ({ first: start.line, last: end.line }));
    const to = direction(shown.line, spans);
    return to === "seen" ? undefined : pointer(to, shown.line, shown.reason);
  }

  #paintIn(editor: TextEditor, shown: Shown | undefined): boolean {
    const there = editor.document.uri.toString() === shown?.uri;
    const painted = there && !shown.hidden;
    this.#paint.show(editor, painted ? [shown.change] : [], true);
    const at = there ? editor.document.lineAt(shown.line).range : undefined;
    editor.setDecorations(this.#gutter, at ? [at] : []);
    editor.setDecorations(this.#reason, painted && at ? [because(at, shown.reason)] : []);
    const where = shown && editor === window.activeTextEditor ? this.#outOfSight(editor, shown) : undefined;
    editor.setDecorations(this.#pointer, where === undefined ? [] : [pointing(editor, where)]);
    return painted && where === undefined;
  }
}

/** Behind a line, dimly. */
function because({ end }: Range, reason: string): DecorationOptions {
  const contentText = `${reason}  ⇥`;
  const color = new ThemeColor("editorGhostText.foreground");
  return {
    range: new Range(end, end),
    renderOptions: { after: { contentText, color, margin: "0 0 0 2em", fontStyle: "italic" } },
  };
}

/** Behind the line at that edge of the screen. */
function pointing(editor: TextEditor, where: string): DecorationOptions {
  const first = editor.visibleRanges[0]?.start.line ?? 0;
  const last = editor.visibleRanges.at(-1)?.end.line ?? 0;
  const line = where.startsWith("↑") ? first : Math.max(first, last - 1); // the last one may be half in sight
  const { end } = editor.document.lineAt(line).range;
  const after = {
    contentText: ` ${where}  ⇥ `,
    color: new ThemeColor("badge.foreground"),
    backgroundColor: new ThemeColor("badge.background"),
    margin: "0 0 0 2em",
  };
  return { range: new Range(end, end), renderOptions: { after } };
}
