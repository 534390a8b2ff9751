// One window's session with the server: starts it, restarts it once, says why it is not there.

import { join } from "node:path";
import {
  Disposable,
  commands,
  window,
  workspace,
  type ExtensionContext,
  type OutputChannel,
  type TextDocument,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { PLACE_CURSOR, placeCursor } from "./acceptedCursor";
import { Actions } from "./actions";
import { Instructions } from "./ask";
import type * as Client from "./client";
import { Complaints, answered } from "./complaints";
import { Conversations } from "./conversation";
import { examine } from "./doctor";
import { Explanations } from "./explanation";
import { Ghost } from "./ghost";
import { PRIVATE, machine } from "./machine";
import { showMenu } from "./menu";
import { NextEdits } from "./nextEdit";
import { Previews } from "./preview";
import { Program } from "./program";
import { PAUSE, type Draft, type Pause, type Paused } from "./protocol";
import { OWN, configured, initial } from "./sections";
import { StatusItem } from "./status";

const SERVED = new Set(["file", "untitled", "vscode-notebook-cell"]);
/** Changes of these are taken up by a new server only. */
const RESTARTING = [...OWN, "completion", "server"].map((key) => `palimpsest.${key}`);
const AGAIN_MS = 10 * 60_000;
const SHOW_LOG = "Show Log";
/** That a process has ended may be noticed so much later. */
const NOTICED_MS = 1500;
/** So long after the server is there a change may come from a window that has not heard of it; and so soon it asks. */
const HEARD_MS = 1000;
const ASKS_MS = 300;

export class Session implements Disposable {
  readonly #log = window.createOutputChannel("Palimpsest", { log: true });
  readonly #complaints = new Complaints(this.#log);
  readonly #status = new StatusItem();
  readonly #ghost = new Ghost(
    () => this.#status.unknown(),
    (document, position) => this.#previews.ghostAt(document, position),
  );
  readonly #previews = new Previews((something) => this.#ghost.show(something));
  readonly #conversations = new Conversations();
  readonly #explanations = new Explanations();
  readonly #disposables: Disposable[] = [this.#log, this.#status, this.#previews];
  #connection: Client.Connection | undefined;
  #begun = false;
  /** Since when there is no server, or one again; and which document was typed into last, and when. */
  #down = 0;
  #back = 0;
  #typed: { readonly document?: TextDocument; readonly at: number } = { at: 0 };
  #ended = -Infinity;
  #missing = false;
  #panel: OutputChannel | undefined;
  #queue: Promise<void> = Promise.resolve();
  readonly #actions: Actions;
  readonly #nextEdits: NextEdits;
  readonly #program: Program;

  constructor({ globalStorageUri, extensionUri, globalState }: ExtensionContext) {
    this.#actions = new Actions(
      () => this.#connection,
      this.#previews,
      () => this.#setting("ui.preview", true),
      new Instructions(globalState),
      this.#conversations,
      this.#explanations,
    );
    this.#nextEdits = new NextEdits(() => this.#connection, extensionUri);
    const storage = globalStorageUri.fsPath;
    const here = machine(storage, extensionUri.fsPath);
    this.#program = new Program(here, join(storage, PRIVATE), this.#complaints, () => this.restart());
  }

  /** Bind the commands, and start the server as soon as there is a document. */
  begin(): void {
    const bound: Record<string, () => unknown> = {
      restart: () => this.restart(),
      showLog: () => this.#log.show(true),
      showStatus: () => this.#menu(),
      toggle: () => this.#pause({ scope: "all" }),
      pauseLanguage: () => this.#pauseLanguage(),
      doctor: () => this.#doctor(),
      installServer: () => this.#program.install(),
      chooseProgram: () => this.#program.choose(),
      dismiss: () => {
        this.#ghost.dismiss();
        return commands.executeCommand("editor.action.inlineSuggest.hide");
      },
    };
    this.#disposables.push(
      this.#actions,
      this.#conversations,
      this.#explanations,
      this.#nextEdits,
      commands.registerCommand(PLACE_CURSOR, placeCursor),
      ...Object.entries(bound).map(([name, call]) => commands.registerCommand(`palimpsest.${name}`, call)),
      workspace.onDidOpenTextDocument((document) => this.#opened(document)),
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length && document === window.activeTextEditor?.document) {
          this.#typed = { document, at: Date.now() };
          this.#early(document);
        }
      }),
      window.onDidChangeActiveTextEditor(() => this.#status.left()),
      workspace.onDidGrantWorkspaceTrust(() => this.#lookAgain()),
      workspace.onDidChangeWorkspaceFolders(() => this.#lookAgain()),
      workspace.onDidChangeConfiguration((event) => {
        this.#status.visible = this.#setting("ui.statusItem", true);
        if (this.#begun && RESTARTING.some((key) => event.affectsConfiguration(key))) {
          void this.restart();
        }
      }),
    );
    this.#status.visible = this.#setting("ui.statusItem", true);
    // Not in the time that the editor counts as ours.
    setImmediate(() => workspace.textDocuments.forEach((document) => this.#opened(document)));
  }

  /** End the server and start it anew; one after the other, if several ask at once. */
  restart(): Promise<void> {
    this.#begun = true;
    this.#ended = -Infinity;
    this.#complaints.forget();
    return (this.#queue = this.#queue.then(() => this.#start()));
  }

  async stop(): Promise<void> {
    await this.#queue;
    await this.#disconnect();
  }

  dispose(): void {
    this.#panel?.dispose();
    Disposable.from(...this.#disposables).dispose();
  }

  #setting<T>(key: string, otherwise: T): T {
    return workspace.getConfiguration("palimpsest").get(key, otherwise);
  }

  #opened(document: TextDocument): void {
    if (!this.#begun && SERVED.has(document.uri.scheme)) {
      void this.restart();
    }
  }

  async #start(): Promise<void> {
    await this.#disconnect();
    const found = await this.#program.find();
    this.#missing = "missing" in found;
    if ("missing" in found) {
      this.#status.tell({ absent: "missing", reason: found.missing });
      return this.#program.ask(found.missing);
    }
    this.#status.tell({ state: "starting", reason: "", model: "", device: "", lastEmpty: null, paused: [] });
    try {
      const { connect } = await import("./client.js");
      this.#connection = await connect(found.program, this.#setting<string[]>("server.arguments", []), {
        log: this.#log,
        middleware: this.#middleware(),
        initial: () => ({ palimpsest: this.#initial(), client: { explains: true } }),
        status: (status) => this.#status.tell(status),
        draft: (draft) => this.#drafted(draft),
        ready: () => this.#ready(),
        ended: (why, starting) => this.#onEnd(why, starting),
      });
      this.#running(true);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#gone(`The Palimpsest server did not start: it ${why}.`);
    }
  }

  /** There may be a program now. */
  #lookAgain(): void {
    if (this.#missing) {
      void this.restart();
    }
  }

  /** Whoever typed while there was no server gets what that was worth. */
  #ready(): void {
    this.#back = Date.now();
    const { document, at } = this.#typed;
    if (document && document === window.activeTextEditor?.document && at > this.#down) {
      this.#ghost.catchUp();
    }
  }

  /** The editor's window may have heard of the server later than we: then it asked nobody about this change. */
  #early(document: TextDocument): void {
    const { version } = document;
    if (Date.now() - this.#back < HEARD_MS) {
      setTimeout(() => {
        const here = document === window.activeTextEditor?.document && document.version === version;
        if (here && !this.#ghost.asked(document)) {
          this.#ghost.catchUp();
        }
      }, ASKS_MS);
    }
  }

  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#forget();
    await connection?.stop();
  }

  #forget(): void {
    this.#connection = undefined;
    this.#down = Date.now();
    this.#running(false);
    this.#ghost.dismiss();
    this.#previews.clear();
    this.#conversations.clear();
    this.#nextEdits.clear();
  }

  #running(running: boolean): void {
    void commands.executeCommand("setContext", "palimpsest.running", running);
    if (running) {
      this.#complaints.over();
    }
  }

  /** The process is gone. Once it is started again; when that happens twice in a short time, the user decides. */
  #onEnd(why: string, starting: boolean): "restart" | "stay" {
    const again = !starting && Date.now() - this.#ended > AGAIN_MS;
    this.#ended = Date.now();
    if (again) {
      this.#down = Date.now() - NOTICED_MS;
      this.#ghost.dismiss();
      this.#previews.clear();
      this.#conversations.clear();
      this.#nextEdits.clear();
      const message = `The Palimpsest server ${why}, and was started again.`;
      this.#log.warn(message);
      void answered(window.showWarningMessage(message, SHOW_LOG), { [SHOW_LOG]: () => this.#log.show(true) });
      return "restart";
    }
    this.#gone(
      starting
        ? `The Palimpsest server did not start again: it ${why}.`
        : `The Palimpsest server ${why} once more, and was not started again.`,
    );
    return "stay";
  }

  #gone(message: string): void {
    this.#forget();
    this.#status.tell({ absent: "ended", reason: message });
    this.#complaints.say(message, { Restart: () => this.restart(), [SHOW_LOG]: () => this.#log.show(true) });
  }

  #initial(): Record<string, unknown> {
    const section = workspace.getConfiguration("palimpsest");
    return initial((key) => section.inspect(key), section.get("completion"));
  }

  #drafted(draft: Draft): void {
    const connection = this.#connection;
    const document = workspace.textDocuments.find((each) => connection?.same(draft.uri, each));
    if (!connection || !document || !(draft.final || this.#setting("ui.drafts", true))) {
      return;
    }
    const work = this.#previews.of(document);
    if (draft.range === undefined) {
      this.#ghost.take(draft, document);
    } else if (work) {
      this.#previews.take(draft, work);
    }
  }

  async #pause(argument: Pause): Promise<void> {
    const { paused, what } = (await this.#connection?.execute<Paused>(PAUSE, argument)) ?? { paused: false, what: "" };
    if (what) {
      window.setStatusBarMessage(`Palimpsest: ${paused ? "paused" : "resumed"} (${what})`, 3000);
    }
  }

  async #pauseLanguage(): Promise<void> {
    const document = window.activeTextEditor?.document;
    if (document && this.#connection) {
      await this.#pause({ scope: "language", uri: this.#connection.uri(document) });
    }
  }

  async #menu(): Promise<void> {
    const running = this.#connection !== undefined;
    const nearby = this.#missing ? await this.#program.nearby() : undefined;
    const language = window.activeTextEditor?.document.languageId;
    const program = await showMenu(this.#status.words, language, running, nearby);
    if (program) {
      await this.#program.use(program);
    }
  }

  /** What the doctor says of this machine and of the servers that run, in a panel of its own. */
  async #doctor(): Promise<void> {
    const found = await this.#program.find();
    if ("missing" in found) {
      this.#complaints.forget();
      return this.#program.ask(found.missing);
    }
    const report = await examine(found.program);
    const panel = (this.#panel ??= window.createOutputChannel("Palimpsest Doctor"));
    panel.replace(report);
    panel.show(true);
  }

  #middleware(): Middleware {
    return {
      provideInlineCompletionItems: this.#ghost.provide,
      executeCommand: this.#actions.execute,
      workspace: {
        handleApplyEdit: this.#actions.applyEdit,
        configuration: async (params, token, next) => {
          const answer = await next(params, token);
          return Array.isArray(answer)
            ? answer.map((each: unknown, index) =>
                params.items[index]?.section === "palimpsest" ? configured(each) : each,
              )
            : answer;
        },
        // Without the section: the server asks for it, folder by folder, and the answer goes through the above.
        didChangeConfiguration: (_sections, next) => next(undefined),
      },
    };
  }
}
