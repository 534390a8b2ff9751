// Next edit: after a change, the place that has to change with it. One is offered at a time: a key goes there, and the
// same key makes the edit. Which place, and whether any, is up to the server.

import {
  CancellationTokenSource,
  Disposable,
  Position,
  Range,
  Selection,
  TextEditorRevealType,
  Uri,
  commands,
  window,
  workspace,
  type TextDocument,
  type TextEditor,
} from "vscode";
import type { Connection } from "./client";
import { NextEditView } from "./nextEditView";
import type { NextEdit } from "./protocol";
import { isHere, tabLeads } from "./sight";
import { rows } from "./rows";

const QUIET_MS = 120; // nothing may change for so long before the server is asked
const SHOWN = "textDocument/didShowInlineEdit";
const CLOSED = "palimpsest/didCloseInlineEdit";
const FOCUS = "textDocument/didFocus";

type Manner = "shown" | "subtle" | "off";

interface Offer {
  readonly edit: NextEdit;
  readonly document: TextDocument;
  readonly version: number;
  readonly range: Range;
  /** Where it differs from what is there. */
  readonly at: Position;
  revealed: boolean;
  told: boolean;
}

export class NextEdits implements Disposable {
  readonly #view: NextEditView;
  readonly #disposables: Disposable[];
  #offer: Offer | undefined;
  #asking: CancellationTokenSource | undefined;
  #timer: NodeJS.Timeout | undefined;
  #keys = "";
  /** One is made, and the one after it is on its way: Tab stays ours. "wanted": it was pressed already. */
  #following: "no" | "awaited" | "wanted" = "no";

  constructor(
    private readonly connection: () => Connection | undefined,
    extension: Uri,
  ) {
    this.#view = new NextEditView(Uri.joinPath(extension, "media"));
    this.#disposables = [
      this.#view,
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length) {
          this.#changed(document);
        }
      }),
      workspace.onDidCloseTextDocument((document) => {
        if (document === this.#offer?.document) {
          this.#close("left");
        }
      }),
      window.onDidChangeTextEditorSelection(() => this.#refresh()),
      window.onDidChangeTextEditorVisibleRanges(() => this.#refresh()),
      window.onDidChangeVisibleTextEditors(() => this.#refresh()),
      window.onDidChangeActiveTextEditor((editor) => this.#focused(editor)),
      commands.registerCommand("palimpsest.nextEdit.go", (by?: { key?: string }) =>
        // What the keys were told may be older than the cursor, when Tab comes right after it has moved.
        by?.key === "tab" && !this.#leads() ? commands.executeCommand("tab") : this.#go(),
      ),
      commands.registerCommand("palimpsest.nextEdit.dismiss", () => this.#close("refused")),
    ];
  }

  /** The server is gone, and knows of nothing that it offered. */
  clear(): void {
    this.#cancel();
    this.#offer = undefined;
    this.#refresh();
  }

  dispose(): void {
    this.clear();
    Disposable.from(...this.#disposables).dispose();
  }

  get #manner(): Manner {
    return workspace.getConfiguration("palimpsest").get<Manner>("ui.nextEdit", "shown");
  }

  #changed(document: TextDocument): void {
    if (document === this.#offer?.document) {
      this.#close("typedOver");
    }
    this.#cancel();
    if (this.#following === "no" && document === window.activeTextEditor?.document && this.#manner !== "off") {
      this.#timer = setTimeout(() => {
        if (document === window.activeTextEditor?.document) {
          void this.#ask(false);
        }
      }, QUIET_MS);
    }
  }

  #focused(editor: TextEditor | undefined): void {
    const connection = this.connection();
    if (editor && connection && this.#manner !== "off") {
      connection.notify(FOCUS, { textDocument: { uri: connection.uri(editor.document) } });
    }
    this.#refresh();
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#asking?.cancel();
    this.#asking = undefined;
  }

  async #ask(invoked: boolean): Promise<void> {
    this.#cancel();
    const editor = window.activeTextEditor;
    const connection = this.connection();
    if (!editor || !connection) {
      return;
    }
    const { document } = editor;
    const { version } = document;
    const asking = (this.#asking = new CancellationTokenSource());
    try {
      const found = await connection.nextEdits(document, editor.selection.active, invoked, asking.token);
      if (this.#asking !== asking || document.version !== version) {
        return;
      }
      const edit = found?.edits[0];
      if (!(edit && this.#take(edit)) && invoked) {
        const status = await connection.status();
        const why = status?.lastEmpty?.reason;
        window.setStatusBarMessage(`Palimpsest: no next edit${why ? `: ${why}` : ""}`, 5000);
      }
    } finally {
      asking.dispose();
      if (this.#asking === asking) {
        this.#asking = undefined;
      }
    }
  }

  /** Offer it. False if it is an edit of another text, or of a document that is not open. */
  #take(edit: NextEdit): boolean {
    const document = workspace.textDocuments.find((each) => this.connection()?.same(edit.textDocument.uri, each));
    if (document?.version !== edit.textDocument.version) {
      return false;
    }
    const { start, end } = edit.range;
    const range = document.validateRange(new Range(start.line, start.character, end.line, end.character));
    const [row] = rows([{ range, text: edit.text }], (line) => document.lineAt(line).text);
    if (!row) {
      return false;
    }
    const at = new Position(row.line, row.kind === "replaced" ? row.start : 0);
    const revealed = this.#manner !== "subtle";
    this.#offer = { edit, document, version: document.version, range, at, revealed, told: false };
    this.#refresh();
    return true;
  }

  #close(why: "refused" | "typedOver" | "left"): void {
    const offer = this.#offer;
    if (offer) {
      this.#offer = undefined;
      this.#refresh();
      this.connection()?.notify(CLOSED, { id: offer.edit.palimpsest.id, why });
    }
  }

  /** Show what there is now, and tell the keys. */
  #refresh(): void {
    const offer = this.#offer;
    this.#tellKeys(); // first, so that no key comes between
    const seen = this.#view.show(
      offer && {
        uri: offer.document.uri.toString(),
        change: { range: offer.range, text: offer.edit.text },
        line: offer.at.line,
        reason: offer.edit.palimpsest.reason,
        name: workspace.asRelativePath(offer.document.uri),
        hidden: !offer.revealed,
      },
    );
    if (offer && seen && !offer.told) {
      offer.told = true;
      this.connection()?.notify(SHOWN, { item: { command: offer.edit.command } });
    }
  }

  /** Whether Tab is ours where the cursor stands. */
  #leads(): boolean {
    const offer = this.#offer;
    const editor = window.activeTextEditor;
    if (this.#following !== "no" || !offer || !editor) {
      return this.#following !== "no";
    }
    const { line, character } = editor.selection.active;
    const before = editor.document.lineAt(line).text.slice(0, character);
    return tabLeads(offer.range, editor.document === offer.document, line, before);
  }

  #tellKeys(): void {
    const offer = this.#offer;
    const leads = this.#leads();
    const keys = `${offer !== undefined}${leads}`;
    if (keys !== this.#keys) {
      this.#keys = keys;
      void commands.executeCommand("setContext", "palimpsest.nextEditVisible", offer !== undefined);
      void commands.executeCommand("setContext", "palimpsest.nextEditTab", leads);
    }
  }

  /** Go there; make it, if the cursor is there; ask, if nothing is offered. */
  async #go(): Promise<void> {
    const offer = this.#offer;
    if (!offer && this.#following !== "no") {
      this.#following = "wanted";
      return;
    }
    if (!offer) {
      return this.#ask(true);
    }
    const hidden = !offer.revealed;
    offer.revealed = true;
    const editor = window.activeTextEditor;
    if (editor?.document !== offer.document || !isHere(offer.range, editor.selection.active.line)) {
      await this.#jump(offer);
    } else if (hidden) {
      this.#refresh();
    } else {
      await this.#make(offer, editor);
    }
  }

  async #jump({ document, at }: Offer): Promise<void> {
    const editor = await window.showTextDocument(document, window.activeTextEditor?.viewColumn);
    editor.selection = new Selection(at, at);
    editor.revealRange(new Range(at, at), TextEditorRevealType.InCenterIfOutsideViewport);
    this.#refresh();
  }

  async #make(offer: Offer, editor: TextEditor): Promise<void> {
    const { document, version, range, edit } = offer;
    if (document.version !== version) {
      return this.#close("typedOver");
    }
    this.#offer = undefined;
    this.#following = "awaited";
    this.#refresh();
    try {
      const start = document.offsetAt(range.start);
      const before = document.getText().length - document.getText(range).length;
      const stops = { undoStopBefore: true, undoStopAfter: true };
      if (await editor.edit((builder) => builder.replace(range, edit.text), stops)) {
        const end = document.positionAt(start + document.getText().length - before);
        editor.selection = new Selection(end, end);
        await this.connection()?.execute(edit.command.command, ...edit.command.arguments);
      }
      await this.#ask(false);
    } finally {
      const wanted = (this.#following as string) === "wanted";
      this.#following = "no";
      this.#refresh();
      if (wanted && this.#offer) {
        await this.#go();
      }
    }
  }
}
