// The code actions as commands for the editor's selection: progress, cancel, preview. What they do is the server's
// business.

import {
  CancellationTokenSource,
  DiagnosticSeverity,
  Disposable,
  Range,
  Uri,
  commands,
  env,
  languages,
  window,
  workspace,
  type Diagnostic,
  type TextDocument,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import type { Instructions, Question } from "./ask";
import type * as Client from "./client";
import type { Conversations } from "./conversation";
import type { Explanations } from "./explanation";
import type { Previews, Work } from "./preview";
import { Progress } from "./progress";
import { CANVAS, FILL_SELECTION, RUN, type Canvas, type Ran, type Run } from "./protocol";
import type { Change } from "./rows";

const TITLES = {
  fill: "filling the selection",
  complete: "completing",
  touchUp: "touching up",
  rework: "reworking",
  rewrite: "rewriting",
  repair: "repairing",
  fillHoles: "filling the holes",
  instruct: "rewriting as you say",
  followUp: "following up",
  explain: "explaining",
  test: "writing a test",
  earlier: "going back",
  later: "going forward",
} as const;

const QUESTIONS: Readonly<Record<string, Question>> = {
  instruct: {
    kind: "instruct",
    title: "Palimpsest: rewrite with an instruction",
    placeholder: "What is to be done with these lines?",
    ready: [
      "add a docstring",
      "add type annotations",
      "simplify it",
      "handle errors",
      "translate the comments into English",
    ],
  },
  followUp: {
    kind: "followUp",
    title: "Palimpsest: follow up",
    placeholder: "What is to be different about the last answer?",
    ready: ["shorter", "keep the names", "keep the comments", "with comments", "another way"],
  },
};

/** They put a text there that was seen before: there is nothing to wait for, and nothing to look at first. */
const AT_ONCE = new Set(["alternative", "earlier", "later"]);
/** They are about lines of which other tools may have something to say. */
const TOLD = new Set(["instruct", "explain"]);
/** What goes to the model of what other tools say, at most. */
const MOST_DIAGNOSTICS = 20;

type Execute = NonNullable<Middleware["executeCommand"]>;
type ApplyEdit = NonNullable<NonNullable<Middleware["workspace"]>["handleApplyEdit"]>;

/** The commands, and what the connection asks of them. */
export class Actions implements Disposable {
  readonly #disposables: Disposable[];

  constructor(
    readonly connection: () => Client.Connection | undefined,
    readonly previews: Previews,
    readonly previewed: () => boolean,
    readonly instructions: Instructions,
    readonly conversations: Conversations,
    readonly explanations: Explanations,
  ) {
    this.#disposables = [
      ...Object.keys(TITLES).map((action) =>
        commands.registerCommand(`palimpsest.${action}`, () => this.#here(action)),
      ),
      commands.registerCommand("palimpsest.showCanvas", () => this.#showCanvas()),
      commands.registerCommand("palimpsest.forgetInstructions", () => instructions.forget()),
    ];
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
    if (!(command === RUN || command === FILL_SELECTION) || !argument || !document) {
      return next(command, args) as unknown;
    }
    return this.#run(command, { ...this.#said(document, argument), ...argument }, document);
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
    const accepted = await this.previews.ask(work, shown);
    if (!accepted) {
      return { applied: false, failureReason: "cancelled" };
    }
    // Of a part of it the server learns by the change of the document.
    const [pattern] = only.edits;
    const edits = accepted.map(({ range, text }) => ({ ...pattern, range, newText: text }));
    const wanted = accepted === shown ? params : { ...params, edit: { documentChanges: [{ ...only, edits }] } };
    const answer = await next(wanted, work.cancel.token);
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
    const there = this.#there();
    const question = QUESTIONS[action];
    const instruction = there && question ? await this.instructions.ask(question) : undefined;
    if (!there || (question && !instruction)) {
      return;
    }
    const { document, selection, connection } = there;
    this.previews.giveWay(document);
    const argument: Run = {
      action,
      uri: connection.uri(document),
      range: connection.range(selection),
      version: document.version,
      ...(instruction ? { instruction } : {}),
    };
    const problems = action === "repair" ? problemsAt(document, selection).map(({ range }) => connection.range(range)) : [];
    const more = action === "repair" ? { problems } : this.#said(document, argument);
    await this.#run(RUN, { ...argument, ...more }, document);
  }

  /** Where the user is, if something can be done there; else that is said. */
  #there(): { document: TextDocument; selection: Range; connection: Client.Connection } | undefined {
    const editor = window.activeTextEditor;
    const connection = this.connection();
    if (!editor || !connection) {
      void window.showInformationMessage(`Palimpsest: ${editor ? "the server is not running" : "no file is open"}.`);
      return undefined;
    }
    return { document: editor.document, selection: editor.selection, connection };
  }

  /** What other tools say about the lines that are to be rewritten, which no server hears from another. */
  #said(document: TextDocument, { action, range }: Run): Pick<Run, "diagnostics"> {
    const connection = this.connection();
    if (!TOLD.has(action) || !range || !connection) {
      return {};
    }
    const lines = document.validateRange(new Range(range.start.line, 0, range.end.line, Number.MAX_SAFE_INTEGER));
    const found = problemsAt(document, lines).slice(0, MOST_DIAGNOSTICS);
    return { diagnostics: found.map(({ range, message }) => ({ range: connection.range(range), message })) };
  }

  async #showCanvas(): Promise<void> {
    const there = this.#there();
    if (!there) {
      return;
    }
    const { document, selection, connection } = there;
    try {
      const argument = { uri: connection.uri(document), range: connection.range(selection) };
      const canvas = await connection.execute<Canvas>(CANVAS, argument);
      if (canvas?.url && !canvas.shown) {
        await env.openExternal(Uri.parse(canvas.url, true));
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    void window.showErrorMessage(`Palimpsest: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** Run it to its end; the server says why nothing came of it, if nothing does. */
  async #run(command: string, argument: Run, document: TextDocument): Promise<Ran | undefined> {
    const connection = this.connection();
    if (!connection) {
      return undefined;
    }
    if (AT_ONCE.has(argument.action)) {
      try {
        return this.#ended(await connection.execute<Ran>(command, argument), argument, document);
      } catch (error) {
        this.#failed(error);
        return undefined;
      }
    }
    const action = command === FILL_SELECTION ? "fill" : argument.action;
    const title = `Palimpsest: ${TITLES[action as keyof typeof TITLES] ?? action}`;
    const work = await this.previews.begin(document, title);
    const progress = new Progress(title);
    work.written = () => progress.end();
    try {
      const ran = await connection.run<Ran>(command, argument, work.cancel.token, (done, said) =>
        progress.report(done, said),
      );
      return this.#ended(ran, argument, document);
    } catch (error) {
      if (!work.cancel.token.isCancellationRequested && this.connection() === connection) {
        this.#failed(error);
      }
      return undefined;
    } finally {
      progress.end();
      this.previews.end(work);
    }
  }

  /** Show what came of it beside an edit. */
  #ended(ran: Ran | undefined, { range }: Run, document: TextDocument): Ran | undefined {
    if (ran?.applied && ran.holes > 1) {
      window.setStatusBarMessage(`Palimpsest: ${ran.filled} of ${ran.holes} holes filled`, 5000);
    }
    if (ran?.conversation !== undefined) {
      this.conversations.tell(document, ran.conversation ?? undefined);
    }
    if (ran?.explanation && range) {
      void this.explanations.show(document, range, ran.explanation);
    }
    if (ran?.applied && ran.uri) {
      void showEnd(Uri.parse(ran.uri, true));
    }
    return ran;
  }
}

/** Open a file where something was put at its end. */
async function showEnd(uri: Uri): Promise<void> {
  const document = await workspace.openTextDocument(uri);
  const { end } = document.lineAt(document.lineCount - 1).range;
  await window.showTextDocument(document, { preview: false, selection: new Range(end, end) });
}

/** What is wrong there, in the words of all tools. */
function problemsAt(document: TextDocument, place: Range): Diagnostic[] {
  const near = place.isEmpty ? document.lineAt(place.start).range : place;
  return languages
    .getDiagnostics(document.uri)
    .filter(({ severity, range }) => severity <= DiagnosticSeverity.Warning && range.intersection(near));
}
