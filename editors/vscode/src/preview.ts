// What a command writes, painted in its place before it is there: first the drafts, then what there is to accept.
//
// The text itself stays as it is until then. What is behind it is a request of the server that waits for an answer.

import {
  CancellationTokenSource,
  CodeLens,
  Disposable,
  EventEmitter,
  Position,
  Selection,
  commands,
  languages,
  window,
  workspace,
  type TextDocument,
  type TextEditor,
} from "vscode";
import { Comparison } from "./compare";
import { Decision } from "./decision";
import { hunkCommands } from "./hunkCommands";
import { Paint } from "./paint";
import type { Draft } from "./protocol";
import type { Change } from "./rows";

const REPAINT_MS = 200;

/** A command at work on a document. decision: there when it is done. */
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
  decision?: Decision;
  /** Lines at the cursor are shown as ghost text, as long as the cursor stays: that has place for them. */
  ghost: "no" | "yes" | "left";
  painted: number;
  /** Called when there is something to decide: the model has nothing more to do. */
  written?: () => void;
}

/** All of a window. */
export class Previews implements Disposable {
  readonly #works = new Map<TextDocument, Work>();
  readonly #lenses = new EventEmitter<void>();
  readonly #paint = new Paint();
  readonly #comparison = new Comparison(() =>
    [...this.#works.values()].map(({ document, title, decision }) => ({ document, title, changes: decision?.shown ?? [] })),
  );
  readonly #disposables: Disposable[];

  /** show: have the ghost text ask `ghostAt` again, which has something, or not any more. */
  constructor(private readonly show: (something: boolean) => void) {
    this.#disposables = [
      this.#paint,
      this.#comparison,
      this.#lenses,
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length) {
          this.drop(document);
        }
      }),
      workspace.onDidCloseTextDocument((document) => this.drop(document)),
      window.onDidChangeVisibleTextEditors((editors) => editors.forEach((editor) => this.#repaint(editor))),
      window.onDidChangeActiveTextEditor(() => void this.#tell()),
      window.onDidChangeTextEditorSelection(({ textEditor }) => this.#moved(textEditor)),
      languages.registerCodeLensProvider("*", {
        onDidChangeCodeLenses: this.#lenses.event,
        provideCodeLenses: (document) => this.#lensesOf(document),
      }),
      commands.registerCommand("palimpsest.acceptPreview", () => this.#here()?.decision?.settle(true)),
      commands.registerCommand("palimpsest.rejectPreview", () => this.#here()?.decision?.settle(false)),
      commands.registerCommand("palimpsest.keepAccepted", () => this.#here()?.decision?.keep()),
      hunkCommands(
        () => this.#here(),
        (document) => {
          this.#refresh(document);
          this.#comparison.refresh(document);
        },
      ),
      commands.registerCommand("palimpsest.comparePreview", () => this.#compare()),
      commands.registerCommand("palimpsest.cancel", () => {
        this.#works.forEach((work) => (work.decision ? work.decision.settle(false) : work.cancel.cancel()));
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
    if (draft.hole === undefined || draft.range === undefined || draft.version !== work.version || work.decision) {
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

  /**
   * Show what a command wrote; the changes to make, the very same if all are accepted. Undefined when none are, or the
   * document changes.
   */
  async ask(work: Work, changes: readonly Change[]): Promise<readonly Change[] | undefined> {
    work.decision = new Decision(changes, work.document);
    work.written?.();
    this.#unselect(work);
    this.#refresh(work.document);
    const accepted = await work.decision.decided;
    void this.#comparison.close(work.document);
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
      work.decision?.settle(false);
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
    return this.of(document && (this.#comparison.of(document.uri)?.document ?? document));
  }

  /** Tell the keys what is at work here. */
  async #tell(): Promise<void> {
    const work = this.#here();
    await Promise.all([
      commands.executeCommand("setContext", "palimpsest.working", work !== undefined && !work.decision?.waits),
      commands.executeCommand("setContext", "palimpsest.preview", work?.decision?.waits === true),
      commands.executeCommand("setContext", "palimpsest.hunks", work?.decision?.waits && work.decision.hunks.length > 0),
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
    return work.decision?.shown ?? [...work.holes.values()];
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
    if (work.decision || Date.now() - work.painted >= REPAINT_MS) {
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
      this.#repaint(editor);
    }
  }

  #refresh(document: TextDocument): void {
    void this.#tell();
    this.#lenses.fire();
    this.#paintAll(document);
  }

  #paintAll(document: TextDocument): void {
    window.visibleTextEditors.filter((editor) => editor.document === document).forEach((editor) => this.#repaint(editor));
  }

  #repaint(editor: TextEditor): void {
    const work = this.of(editor.document);
    const changes = work && !this.#ghosted(work) ? this.#changes(work) : [];
    this.#paint.show(editor, changes, work?.decision !== undefined);
  }

  #lensesOf(document: TextDocument): CodeLens[] {
    const decision = this.of(document)?.decision;
    return decision?.waits ? decision.lenses() : [];
  }

  async #compare(): Promise<void> {
    const work = this.#here();
    if (work?.decision?.waits) {
      await this.#comparison.open(work);
    }
  }
}
