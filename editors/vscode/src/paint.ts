// Paints changes over a text that does not have them yet.

import {
  DecorationRangeBehavior,
  Disposable,
  Range,
  ThemeColor,
  window,
  type DecorationOptions,
  type TextEditor,
} from "vscode";
import { rows, type Change } from "./rows";

// Lines that are not there yet have no place of their own in the editor. They cover those below.
const INSERTED =
  "background: linear-gradient(var(--vscode-diffEditor-insertedTextBackground) 0 100%), " +
  "var(--vscode-editor-background)";
const BLOCK =
  `position: absolute; left: 0; width: 100vw; top: 100%; z-index: 20; white-space: pre; ${INSERTED}; ` +
  "box-shadow: 0 3px 4px -2px var(--vscode-widget-shadow)";
const DRAFTED = { color: new ThemeColor("editorGhostText.foreground"), fontStyle: "italic" };
const ACCEPTABLE = {
  color: new ThemeColor("editor.foreground"),
  textDecoration: `none; ${INSERTED}`, // not backgroundColor: that of the old text beside it would shine through
};
const rangeBehavior = DecorationRangeBehavior.ClosedClosed;

export class Paint implements Disposable {
  readonly #hidden = window.createTextEditorDecorationType({
    textDecoration: "none; font-size: 0", // not display: the editor has to find its columns
    rangeBehavior,
  });
  readonly #faded = window.createTextEditorDecorationType({ opacity: "0.35" });
  readonly #removedLine = window.createTextEditorDecorationType({
    isWholeLine: true,
    backgroundColor: new ThemeColor("diffEditor.removedLineBackground"),
  });
  readonly #removed = window.createTextEditorDecorationType({
    backgroundColor: new ThemeColor("diffEditor.removedTextBackground"),
    rangeBehavior,
  });
  readonly #struck = window.createTextEditorDecorationType({
    textDecoration: "line-through",
    opacity: "0.6",
    rangeBehavior,
  });
  readonly #written = window.createTextEditorDecorationType({});

  /**
   * Show these changes, and no others. A draft (not final) takes the place of the old text; what there is to accept stands
   * behind it, so that both can be read.
   */
  show(editor: TextEditor, changes: readonly Change[], final: boolean): void {
    const { document } = editor;
    const replaced: Range[] = [];
    const lines: Range[] = [];
    const written: DecorationOptions[] = [];
    const look = final ? ACCEPTABLE : DRAFTED;
    const width = typeof editor.options.tabSize === "number" ? editor.options.tabSize : 4;
    for (const row of rows(changes, (line) => document.lineAt(line).text)) {
      switch (row.kind) {
        case "replaced": {
          const { line, start, end, text } = row;
          replaced.push(new Range(line, start, line, end));
          // At the end of the old text: the editor places its lenses by where a line's text begins.
          const at = new Range(line, end, line, end);
          const column = spaced(document.lineAt(line).text.slice(0, final ? end : start), width, 0).length;
          const contentText = spaced(text, width, column).replaceAll(" ", "\u00a0"); // others would run together
          written.push({ range: at, renderOptions: { before: { ...look, contentText } } });
          break;
        }
        case "removed": {
          const { range, firstNonWhitespaceCharacterIndex: ink } = document.lineAt(row.line);
          lines.push(range.with({ start: range.start.with({ character: ink }) }));
          break;
        }
        case "added": {
          const { end } = document.lineAt(row.line).range;
          const content = cssString(row.texts.map((text) => spaced(text, width, 0)).join("\n"));
          const textDecoration = `none; content: ${content}; ${BLOCK}`;
          const { color } = look;
          const added = { color, contentText: " ", textDecoration };
          written.push({ range: new Range(end, end), renderOptions: { after: added } });
        }
      }
    }
    const old = replaced.filter((range) => !range.isEmpty);
    editor.setDecorations(this.#hidden, final ? [] : old);
    editor.setDecorations(this.#faded, final ? [] : lines);
    editor.setDecorations(this.#removed, final ? old : []);
    editor.setDecorations(this.#removedLine, final ? lines : []);
    editor.setDecorations(this.#struck, final ? [...lines, ...old] : []);
    editor.setDecorations(this.#written, written);
  }

  dispose(): void {
    const all = [this.#hidden, this.#faded, this.#removedLine, this.#removed, this.#struck, this.#written];
    Disposable.from(...all).dispose();
  }
}

/** Tabs as the editor paints them, from a column on; what stands before that has none of its own here. */
function spaced(text: string, width: number, column: number): string {
  let shown = "";
  for (const each of text) {
    shown += each === "\t" ? " ".repeat(width - ((column + shown.length) % width)) : each;
  }
  return shown;
}

/** A text as a string of CSS, in which nothing of it means anything. */
function cssString(text: string): string {
  return `"${text.replace(/[^A-Za-z0-9]/gu, (each) => `\\${each.codePointAt(0)!.toString(16)} `)}"`;
}
