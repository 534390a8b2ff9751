// What a command writes, painted in its place before it is there: first the drafts, then what there is to accept.
//
// The text itself stays as it is until then. What is behind it is a request of the server that waits for an answer.

import {
  CancellationTokenSource,
  CodeLens,
  DecorationRangeBehavior,
  Disposable,
  EventEmitter,
  Position,
  Range,
  Selection,
  TabInputTextDiff,
  ThemeColor,
  Uri,
  commands,
  languages,
  window,
  workspace,
  type DecorationOptions,
  type Tab,
  type TextDocument,
  type TextEditor,
} from "vscode";
import { rows, type Change } from "./rows";
import type { Draft } from "./protocol";

const REPAINT_MS = 200;
const SCHEME = "palimpsest-preview";
// Lines that are not there yet have no place of their own in the editor. They cover those below.
const BLOCK =
  "position: absolute; left: 0; width: 100vw; top: 100%; z-index: 20; white-space: pre; background: " +
  "linear-gradient(var(--vscode-diffEditor-insertedTextBackground) 0 100%), var(--vscode-editor-background); " +
  "box-shadow: 0 3px 4px -2px var(--vscode-widget-shadow)";

/** A command at work on a document. decide: there when it is done, and waits to be accepted. */
export interface Work {
  readonly document: TextDocument;
  readonly version: number;
  readonly title: string;
  readonly cancel: CancellationTokenSource;
  readonly holes: Map<number, Change>;
  /** What was selected before something was painted there. */
  selected?: Selection;
  /** Something has been painted. */
  seen: boolean;
  changes?: readonly Change[];
  /** Lines at the cursor are shown as ghost text, as long as the cursor stays: that has place for them. */
  ghost: "no" | "yes" | "left";
  painted: number;
  decide?: (accepted: boolean) => void;
  /** Called when there is something to decide: the model has nothing more to do. */
  written?: () => void;
}

/** All of a window. */
export class Previews implements Disposable {
  readonly #works = new Map<TextDocument, Work>();
  readonly #lenses = new EventEmitter<void>();
  readonly #hidden = window.createTextEditorDecorationType({
    textDecoration: "none; font-size: 0", // not display: the editor has to find its columns
    rangeBehavior: DecorationRangeBehavior.ClosedClosed,
  });
  readonly #faded = window.createTextEditorDecorationType({ opacity: "0.35" });
  readonly #removed = window.createTextEditorDecorationType({
    isWholeLine: true,
    backgroundColor: new ThemeColor("diffEditor.removedLineBackground"),
  });
  readonly #struck = window.createTextEditorDecorationType({ textDecoration: "line-through", opacity: "0.6" });
  readonly #written = window.createTextEditorDecorationType({});
  readonly #disposables: Disposable[];

  /** show: have the ghost text ask `ghostAt` again, which has something, or not any more. */
  constructor(private readonly show: (something: boolean) => void) {
    this.#disposables = [
      this.#hidden,
      this.#faded,
      this.#removed,
      this.#struck,
      this.#written,
      this.#lenses,
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length) {
          this.drop(document);
        }
      }),
      workspace.onDidCloseTextDocument((document) => this.drop(document)),
      window.onDidChangeVisibleTextEditors((editors) => editors.forEach((editor) => this.#paint(editor))),
      window.onDidChangeActiveTextEditor(() => void this.#tell()),
      window.onDidChangeTextEditorSelection(({ textEditor }) => this.#moved(textEditor)),
      languages.registerCodeLensProvider("*", {
        onDidChangeCodeLenses: this.#lenses.event,
        provideCodeLenses: (document) => this.#lensesOf(document),
      }),
      workspace.registerTextDocumentContentProvider(SCHEME, {
        provideTextDocumentContent: (uri) => this.#afterwards(uri),
      }),
      commands.registerCommand("palimpsest.acceptPreview", () => this.#here()?.decide?.(true)),
      commands.registerCommand("palimpsest.rejectPreview", () => this.#here()?.decide?.(false)),
      commands.registerCommand("palimpsest.comparePreview", () => this.#compare()),
      commands.registerCommand("palimpsest.cancel", () => {
        this.#works.forEach((work) => (work.decide ? work.decide(false) : work.cancel.cancel()));
      }),
    ];
  }

  /** A command begins, as soon as the keys know of it. */
  async begin(document: TextDocument, title: string): Promise<Work> {
    this.giveWay(document);
    const cancel = new CancellationTokenSource();
    const { version } = document;
    const work: Work = { document, version, title, cancel, holes: new Map(), seen: false, ghost: "no", painted: 0 };
    this.#works.set(document, work);
    await this.#tell();
    return work;
  }

  /** Cancel the command at work on a document, as if it had not begun. */
  giveWay(document: TextDocument): void {
    const work = this.#works.get(document);
    if (work) {
      work.cancel.cancel();
      this.drop(document);
      this.#select(work);
    }
  }

  /** A command has ended. */
  end(work: Work): void {
    if (this.#works.get(work.document) === work) {
      this.#forget(work);
    }
    this.#select(work);
    work.cancel.dispose();
  }

  /** The command at work on a document, as it was when that began. */
  of(document: TextDocument | undefined): Work | undefined {
    const work = document && this.#works.get(document);
    return work?.version === document?.version ? work : undefined;
  }

  /** A draft of a hole. */
  take(draft: Draft, work: Work): void {
    if (draft.hole === undefined || draft.range === undefined || draft.version !== work.version || work.changes) {
      return;
    }
    if (draft.final) {
      work.holes.delete(draft.hole);
    } else {
      work.holes.set(draft.hole, { range: draft.range, text: draft.text });
      this.#unselect(work);
    }
    this.#paintAll(work.document);
  }

  /** Show what a command wrote; true when it is accepted, false when it is not, or the document changes. */
  async ask(work: Work, changes: readonly Change[]): Promise<boolean> {
    work.changes = changes;
    work.written?.();
    this.#unselect(work);
    const decided = new Promise<boolean>((resolve) => (work.decide = resolve));
    this.#refresh(work.document);
    const accepted = await decided;
    delete work.decide;
    void this.#uncompare(work.document);
    if (!accepted) {
      this.end(work);
    }
    return accepted;
  }

  /** Whatever is shown for a document is not what it is about any more. */
  drop(document: TextDocument): void {
    const work = this.#works.get(document);
    if (work) {
      this.#forget(work);
      work.decide?.(false);
    }
  }

  /** The server is gone, and whatever was asked of it. */
  clear(): void {
    [...this.#works.keys()].forEach((document) => this.drop(document));
  }

  /** What the ghost text shows there for a command. */
  ghostAt(document: TextDocument, position: Position): string | undefined {
    const work = this.of(document);
    const only = work?.ghost === "yes" ? this.#only(work) : undefined;
    const { line, character } = only?.range.start ?? {};
    return line === position.line && character === position.character ? only?.text : undefined;
  }

  dispose(): void {
    this.clear();
    Disposable.from(...this.#disposables).dispose();
  }

  /** A selection lies over what is painted, and makes it hard to read. One that comes later is the user's business. */
  #unselect(work: Work): void {
    const editor = window.activeTextEditor;
    const first = !work.seen;
    work.seen = true;
    if (first && editor?.document === work.document && !editor.selection.isEmpty) {
      work.selected = editor.selection;
      editor.selection = new Selection(editor.selection.start, editor.selection.start);
    }
  }

  /** Give it back, if nothing was written and nobody has moved. */
  #select(work: Work): void {
    const { document, version, selected } = work;
    const editor = window.activeTextEditor;
    delete work.selected;
    if (selected && editor?.document === document && document.version === version && editor.selection.isEmpty) {
      if (editor.selection.active.isEqual(selected.start)) {
        editor.selection = selected;
      }
    }
  }

  #forget(work: Work): void {
    this.#works.delete(work.document);
    if (work.ghost === "yes" && work.version === work.document.version) {
      this.show(false);
    }
    this.#refresh(work.document);
  }

  #here(): Work | undefined {
    const document = window.activeTextEditor?.document;
    return document?.uri.scheme === SCHEME ? this.#comparedIn(document.uri) : this.of(document);
  }

  #comparedIn(uri: Uri): Work | undefined {
    return [...this.#works.values()].find(({ document }) => document.uri.toString() === uri.query);
  }

  /** Tell the keys what is at work here. */
  async #tell(): Promise<void> {
    const work = this.#here();
    await Promise.all([
      commands.executeCommand("setContext", "palimpsest.working", work !== undefined && !work.decide),
      commands.executeCommand("setContext", "palimpsest.preview", work?.decide !== undefined),
    ]);
  }

  /** The only change, if it is one that puts lines in. */
  #only(work: Work): Change | undefined {
    const [only, ...more] = this.#changes(work);
    const { start, end } = only?.range ?? {};
    const empty = start?.line === end?.line && start?.character === end?.character;
    return empty && !more.length && only?.text.includes("\n") ? only : undefined;
  }

  #changes(work: Work): readonly Change[] {
    return work.changes ?? [...work.holes.values()];
  }

  /** Whether ghost text shows it, from the moment on when there are lines to be put in at the cursor. */
  #ghosted(work: Work): boolean {
    const editor = window.activeTextEditor;
    const only = work.ghost === "left" ? undefined : this.#only(work);
    if (!only || editor?.document !== work.document || !editor.selection.isEmpty) {
      return false;
    }
    const { line, character } = editor.selection.active;
    if (line !== only.range.start.line || character !== only.range.start.character) {
      return false;
    }
    if (work.changes || Date.now() - work.painted >= REPAINT_MS) {
      work.ghost = "yes";
      work.painted = Date.now();
      this.show(true);
    }
    return true;
  }

  #moved(editor: TextEditor): void {
    const work = this.of(editor.document);
    if (work?.ghost === "yes") {
      work.ghost = "left";
      this.show(false);
      this.#paint(editor);
    }
  }

  #refresh(document: TextDocument): void {
    void this.#tell();
    this.#lenses.fire();
    this.#paintAll(document);
  }

  #paintAll(document: TextDocument): void {
    window.visibleTextEditors.filter((editor) => editor.document === document).forEach((editor) => this.#paint(editor));
  }

  #paint(editor: TextEditor): void {
    const { document } = editor;
    const work = this.of(document);
    const final = work?.changes !== undefined;
    const changes = work && !this.#ghosted(work) ? this.#changes(work) : [];
    const hidden: Range[] = [];
    const removed: Range[] = [];
    const written: DecorationOptions[] = [];
    const look = final ? ACCEPTABLE : DRAFTED;
    const width = typeof editor.options.tabSize === "number" ? editor.options.tabSize : 4;
    for (const row of rows(changes, (line) => document.lineAt(line).text)) {
      switch (row.kind) {
        case "replaced": {
          const { line, start, end, text } = row;
          hidden.push(new Range(line, start, line, end));
          // At the end of what is hidden: the editor places its lenses by where a line's text begins.
          const at = new Range(line, end, line, end);
          const column = spaced(document.lineAt(line).text.slice(0, start), width, 0).length;
          const contentText = spaced(text, width, column).replaceAll(" ", "\u00a0"); // others would run together
          written.push({ range: at, renderOptions: { before: { ...look, contentText } } });
          break;
        }
        case "removed": {
          const { range, firstNonWhitespaceCharacterIndex: ink } = document.lineAt(row.line);
          removed.push(range.with({ start: range.start.with({ character: ink }) }));
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
    editor.setDecorations(this.#hidden, hidden.filter((range) => !range.isEmpty));
    editor.setDecorations(this.#removed, final ? removed : []);
    editor.setDecorations(this.#struck, final ? removed : []);
    editor.setDecorations(this.#faded, final ? [] : removed);
    editor.setDecorations(this.#written, written);
  }

  #lensesOf(document: TextDocument): CodeLens[] {
    const work = this.of(document);
    if (!work?.decide) {
      return [];
    }
    const at = work.changes?.[0]?.range.start ?? new Position(0, 0);
    const range = new Range(at.line, 0, at.line, 0);
    const lens = (title: string, command: string): CodeLens => new CodeLens(range, { title, command });
    return [
      lens("$(check) Accept (Tab)", "palimpsest.acceptPreview"),
      lens("$(close) Reject (Escape)", "palimpsest.rejectPreview"),
      lens("$(diff) Compare", "palimpsest.comparePreview"),
    ];
  }

  async #compare(): Promise<void> {
    const work = this.#here();
    if (work?.decide) {
      const { uri } = work.document;
      const after = Uri.from({ scheme: SCHEME, path: uri.path, query: uri.toString() });
      await commands.executeCommand("vscode.diff", uri, after, work.title, { preview: true });
    }
  }

  /** Close what was compared: there is nothing to decide any more. */
  async #uncompare(document: TextDocument): Promise<void> {
    const tabs = window.tabGroups.all.flatMap((group) => group.tabs);
    const about = ({ input }: Tab): boolean =>
      input instanceof TabInputTextDiff &&
      input.modified.scheme === SCHEME &&
      input.original.toString() === document.uri.toString();
    await window.tabGroups.close(tabs.filter(about));
  }

  #afterwards(uri: Uri): string {
    const work = this.#comparedIn(uri);
    if (!work?.changes) {
      return "";
    }
    const { document, changes } = work;
    const text = document.getText();
    let [written, at] = ["", 0];
    for (const change of [...changes].sort((a, b) => a.range.start.line - b.range.start.line)) {
      const [start, end] = [change.range.start, change.range.end].map((each) =>
        document.offsetAt(new Position(each.line, each.character)),
      ) as [number, number];
      written += text.slice(at, start) + change.text;
      at = end;
    }
    return written + text.slice(at);
  }
}

const DRAFTED = { color: new ThemeColor("editorGhostText.foreground"), fontStyle: "italic" };
const ACCEPTABLE = {
  color: new ThemeColor("editor.foreground"),
  backgroundColor: new ThemeColor("diffEditor.insertedTextBackground"),
};

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
