// Shows what the model says about some lines, as a hover: at once, and again whenever the mouse rests on them.

import {
  Disposable,
  Hover,
  MarkdownString,
  Range,
  commands,
  languages,
  window,
  workspace,
  type TextDocument,
} from "vscode";
import type { Range as Lines } from "./protocol";

const SHOW = "Show";

interface Explanation {
  readonly document: TextDocument;
  readonly version: number;
  readonly range: Range;
  readonly text: MarkdownString;
}

/** The last one, for as long as its document stays as it is. */
export class Explanations implements Disposable {
  #last: Explanation | undefined;
  readonly #disposables: Disposable[];

  constructor() {
    this.#disposables = [
      languages.registerHoverProvider("*", {
        provideHover: (document, position) => {
          const last = this.#last;
          const there = last?.document === document && last.version === document.version;
          return there && last.range.contains(position) ? new Hover(last.text, last.range) : undefined;
        },
      }),
      workspace.onDidChangeTextDocument(({ document }) => this.#drop(document)),
      workspace.onDidCloseTextDocument((document) => this.#drop(document)),
    ];
  }

  /** Show an explanation of these lines; to a user who has gone elsewhere, that it is there. */
  async show(document: TextDocument, { start, end }: Lines, markdown: string): Promise<void> {
    const range = document.validateRange(new Range(start.line, 0, end.line, Number.MAX_SAFE_INTEGER));
    this.#last = { document, version: document.version, range, text: untrusted(markdown) };
    const editor = window.activeTextEditor;
    if (editor?.document !== document || !range.contains(editor.selection.active)) {
      const chosen = await window.showInformationMessage("Palimpsest: the lines are explained.", SHOW);
      if (chosen !== SHOW || this.#last?.document !== document) {
        return;
      }
      await window.showTextDocument(document, { selection: new Range(range.start, range.start) });
    }
    await commands.executeCommand("editor.action.showHover", { focus: "autoFocusImmediately" });
  }

  dispose(): void {
    Disposable.from(...this.#disposables).dispose();
  }

  #drop(document: TextDocument): void {
    if (this.#last?.document === document) {
      this.#last = undefined;
    }
  }
}

/**
 * A model may repeat what stands in the code that it has read. The editor runs no command and no HTML of such a text, but
 * it would fetch its images, from wherever they are said to lie: with a word joiner in between, no image begins.
 */
function untrusted(markdown: string): MarkdownString {
  return new MarkdownString(markdown.replaceAll("![", "!\u2060["));
}
