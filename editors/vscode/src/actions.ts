// The code actions as commands for the editor's selection: progress, cancel, preview. What they do is the server's
// business.

import {
  CancellationTokenSource,
  DiagnosticSeverity,
  Disposable,
  ProgressLocation,
  commands,
  languages,
  window,
  workspace,
  type TextDocument,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import type * as Client from "./client";
import type { Previews, Work } from "./preview";
import type { Change } from "./rows";
import { FILL_SELECTION, RUN, type Ran, type Run } from "./protocol";

const TITLES = {
  fill: "filling the selection",
  complete: "completing",
  touchUp: "touching up",
  rework: "reworking",
  rewrite: "rewriting",
  repair: "repairing",
  fillHoles: "filling the holes",
  instruct: "rewriting as you say",
} as const;

const INSTRUCT = "instruct";
/** Instructions that most models understand. */
const READY_MADE = [
  "add a docstring",
  "add type annotations",
  "simplify it",
  "handle errors",
  "translate the comments into English",
] as const;
const MOST_SAID = 20;

const ALTERNATIVE = "alternative";
const PATIENCE_MS = 500;

type Execute = NonNullable<Middleware["executeCommand"]>;
type ApplyEdit = NonNullable<NonNullable<Middleware["workspace"]>["handleApplyEdit"]>;

/** The commands, and what the connection asks of them. */
export class Actions implements Disposable {
  readonly #disposables: Disposable[];
  /** Instructions of this session, the newest first. */
  #said: string[] = [];

  constructor(
    readonly connection: () => Client.Connection | undefined,
    readonly previews: Previews,
    readonly previewed: () => boolean,
  ) {
    this.#disposables = Object.keys(TITLES).map((action) =>
      commands.registerCommand(`palimpsest.${action}`, () => this.#here(action)),
    );
  }

  dispose(): void {
    Disposable.from(...this.#disposables).dispose();
  }

  /** Middleware: a code action from the editor's own menu goes the same way as a command of ours. */
  readonly execute: Execute = (command, args, next) => {
    const argument = args[0] as Run | undefined;
    const document = workspace.textDocuments.find(
      (each) => argument && this.connection()?.same(argument.uri, each),
    );
    return (command === RUN || command === FILL_SELECTION) && argument && document
      ? this.#run(command, argument, document)
      : next(command, args);
  };

  /** Middleware: what a command wrote is shown first, if it is wanted so. Versions are checked when it is applied. */
  readonly applyEdit: ApplyEdit = async (params, next) => {
    const changes = params.edit.documentChanges ?? [];
    const [only] = changes;
    const work =
      changes.length === 1 && only && "textDocument" in only && "edits" in only && this.previewed()
        ? this.#work(only.textDocument)
        : undefined;
    if (!work || !only || !("edits" in only)) {
      return next(params, new CancellationTokenSource().token);
    }
    const shown = only.edits.map((edit): Change => {
      return { range: edit.range, text: "newText" in edit ? edit.newText : "" };
    });
    if (!(await this.previews.ask(work, shown))) {
      return { applied: false, failureReason: "cancelled" };
    }
    const answer = await next(params, work.cancel.token);
    this.previews.end(work);
    return answer;
  };

  #work(document: { readonly uri: string; readonly version: number | null }): Work | undefined {
    const connection = this.connection();
    const there = workspace.textDocuments.find((each) => connection?.same(document.uri, each));
    const work = this.previews.of(there);
    const visible = window.visibleTextEditors.some((editor) => editor.document === there);
    return visible && work?.version === document.version ? work : undefined;
  }

  async #here(action: string): Promise<void> {
    const editor = window.activeTextEditor;
    const connection = this.connection();
    if (!editor || !connection) {
      void window.showInformationMessage(`Palimpsest: ${editor ? "the server is not running" : "no file is open"}.`);
      return;
    }
    const { document } = editor;
    const instruction = action === INSTRUCT ? await this.#instruction() : undefined;
    if (action === INSTRUCT && !instruction) {
      return;
    }
    this.previews.giveWay(document);
    const { selection } = editor;
    const near = selection.isEmpty ? document.lineAt(selection.active).range : selection;
    const problems = languages
      .getDiagnostics(document.uri)
      .filter(({ severity, range }) => severity <= DiagnosticSeverity.Warning && range.intersection(near))
      .map(({ range }) => connection.range(range));
    const argument: Run = {
      action,
      uri: connection.uri(document),
      range: connection.range(selection),
      version: document.version,
      ...(action === "repair" ? { problems } : {}),
      ...(instruction ? { instruction } : {}),
    };
    await this.#run(RUN, argument, document);
  }

  /** Ask what is to be done: what is typed, or one of what was said before and what is ready-made. */
  async #instruction(): Promise<string | undefined> {
    const pick = window.createQuickPick();
    pick.title = "Palimpsest: rewrite with an instruction";
    pick.placeholder = "What is to be done with these lines?";
    const known = [...new Set([...this.#said, ...READY_MADE])];
    const items = (typed: string) =>
      [...new Set([...(typed ? [typed] : []), ...known])].map((label) => ({ label, alwaysShow: true }));
    pick.items = items("");
    // The list follows what is typed a moment later: what was marked in it before does not count.
    let marked: string | undefined;
    pick.onDidChangeValue((value) => {
      marked = undefined;
      pick.items = items(value.trim());
    });
    pick.onDidChangeActive(([first]) => {
      marked = first?.label;
    });
    const chosen = await new Promise<string | undefined>((resolve) => {
      pick.onDidAccept(() => resolve(marked ?? pick.value.trim()));
      pick.onDidHide(() => resolve(undefined));
      pick.show();
    });
    pick.dispose();
    if (chosen) {
      this.#said = [chosen, ...this.#said.filter((each) => each !== chosen)].slice(0, MOST_SAID);
    }
    return chosen || undefined;
  }

  /** Run it to its end; the server says why nothing came of it, if nothing does. */
  async #run(command: string, argument: Run, document: TextDocument): Promise<Ran | undefined> {
    const connection = this.connection();
    if (!connection) {
      return undefined;
    }
    if (argument.action === ALTERNATIVE) {
      return connection.execute<Ran>(command, argument);
    }
    const action = command === FILL_SELECTION ? "fill" : argument.action;
    const title = `Palimpsest: ${TITLES[action as keyof typeof TITLES] ?? action}`;
    const work = await this.previews.begin(document, title);
    const progress = new Progress(title);
    work.written = () => progress.end();
    try {
      const ran = await connection.run<Ran>(command, argument, work.cancel.token, (done) => progress.report(done));
      if (ran?.applied && ran.holes > 1) {
        window.setStatusBarMessage(`Palimpsest: ${ran.filled} of ${ran.holes} holes filled`, 5000);
      }
      return ran;
    } catch (error) {
      if (!work.cancel.token.isCancellationRequested && this.connection() === connection) {
        void window.showErrorMessage(`Palimpsest: ${error instanceof Error ? error.message : String(error)}`);
      }
      return undefined;
    } finally {
      progress.end();
      this.previews.end(work);
    }
  }
}

/** Progress in the status bar, away from what is painted; it comes only if there is time to read it. Escape cancels. */
class Progress {
  #reported = 0;
  #show: (() => void) | undefined;
  #end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve));
  readonly #timer: NodeJS.Timeout;

  constructor(title: string) {
    this.#timer = setTimeout(() => {
      void window.withProgress({ location: ProgressLocation.Window, title }, (progress) => {
        this.#show = () => progress.report({ message: `${this.#reported} % (Escape cancels)` });
        this.#show();
        return this.#ended;
      });
    }, PATIENCE_MS);
  }

  /** So many of a hundred. */
  report(percentage: number): void {
    if (percentage > this.#reported) {
      this.#reported = percentage;
      this.#show?.();
    }
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#end();
  }
}
