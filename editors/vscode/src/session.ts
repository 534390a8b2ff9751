// One window's session with the server: starts it, restarts it once, says why it is not there.

import { execFile } from "node:child_process";
import { homedir } from "node:os";
import {
  Disposable,
  ProgressLocation,
  commands,
  window,
  workspace,
  type OutputChannel,
  type TextDocument,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { Actions } from "./actions";
import type * as Client from "./client";
import { findServer } from "./find";
import { Ghost, PLACE_CURSOR, placeCursor } from "./ghost";
import { install } from "./install";
import { machine } from "./machine";
import { showMenu } from "./menu";
import { Previews } from "./preview";
import { PAUSE, type Draft, type Pause, type Paused } from "./protocol";
import { OWN, configured, initial } from "./sections";
import { StatusItem } from "./status";

const SERVED = new Set(["file", "untitled", "vscode-notebook-cell"]);
/** Changes of these are taken up by a new server only. */
const RESTARTING = [...OWN, "completion", "server"].map((key) => `palimpsest.${key}`);
const AGAIN_MS = 10 * 60_000;
/** That a process has ended may be noticed so much later. */
const NOTICED_MS = 1500;

export class Session implements Disposable {
  readonly #log = window.createOutputChannel("Palimpsest", { log: true });
  readonly #status = new StatusItem();
  readonly #ghost = new Ghost(
    () => this.#status.unknown(),
    (document, position) => this.#previews.ghostAt(document, position),
  );
  readonly #previews = new Previews((something) => this.#ghost.show(something));
  readonly #disposables: Disposable[] = [this.#log, this.#status, this.#previews];
  #connection: Client.Connection | undefined;
  #begun = false;
  /** Since when there is no server; and which document was typed into last, and when. */
  #down = 0;
  #typed: { readonly document?: TextDocument; readonly at: number } = { at: 0 };
  #ended = -Infinity;
  #told = "";
  #panel: OutputChannel | undefined;
  #queue: Promise<void> = Promise.resolve();
  readonly #actions = new Actions(
    () => this.#connection,
    this.#previews,
    () => this.#setting("ui.preview", true),
  );

  /** Bind the commands, and start the server as soon as there is a document. */
  begin(): void {
    const bound: Record<string, () => unknown> = {
      restart: () => this.restart(),
      showLog: () => this.#log.show(true),
      showStatus: () =>
        showMenu(this.#status.words, window.activeTextEditor?.document.languageId, this.#connection !== undefined),
      toggle: () => this.#pause({ scope: "all" }),
      pauseLanguage: () => this.#pauseLanguage(),
      doctor: () => this.#doctor(),
      installServer: async () => (await install(machine())) && this.restart(),
      dismiss: () => {
        this.#ghost.dismiss();
        return commands.executeCommand("editor.action.inlineSuggest.hide");
      },
    };
    this.#disposables.push(
      this.#actions,
      commands.registerCommand(PLACE_CURSOR, placeCursor),
      ...Object.entries(bound).map(([name, call]) => commands.registerCommand(`palimpsest.${name}`, call)),
      workspace.onDidOpenTextDocument((document) => this.#opened(document)),
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length) {
          this.#typed = { document, at: Date.now() };
        }
      }),
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
    this.#told = "";
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
    const found = await findServer(this.#setting("server.path", ""), machine());
    if ("missing" in found) {
      this.#status.tell({ absent: "missing", reason: found.missing });
      this.#complain(found.missing, "Install…", "Settings");
      return;
    }
    this.#status.tell({ state: "starting", reason: "", model: "", device: "", lastEmpty: null, paused: [] });
    try {
      const { connect } = (await import("./client.js")) as typeof Client;
      this.#connection = await connect(found.program, this.#setting<string[]>("server.arguments", []), {
        log: this.#log,
        middleware: this.#middleware(),
        initial: () => ({ palimpsest: this.#initial() }),
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

  /** Whoever typed while there was no server gets what that was worth. */
  #ready(): void {
    const { document, at } = this.#typed;
    if (document && document === window.activeTextEditor?.document && at > this.#down) {
      this.#ghost.catchUp();
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
  }

  #running(running: boolean): void {
    void commands.executeCommand("setContext", "palimpsest.running", running);
  }

  /** The process is gone. Once it is started again; when that happens twice in a short time, the user decides. */
  #onEnd(why: string, starting: boolean): "restart" | "stay" {
    const again = !starting && Date.now() - this.#ended > AGAIN_MS;
    this.#ended = Date.now();
    if (again) {
      this.#down = Date.now() - NOTICED_MS;
      this.#ghost.dismiss();
      this.#previews.clear();
      const message = `The Palimpsest server ${why}, and was started again.`;
      this.#log.warn(message);
      void this.#offer(window.showWarningMessage(message, "Show Log"));
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
    this.#complain(message, "Restart", "Show Log");
  }

  /** One message about a server that is not there, until somebody tries again. */
  #complain(message: string, ...answers: string[]): void {
    this.#log.error(message);
    if (message !== this.#told) {
      this.#told = message;
      void this.#offer(window.showErrorMessage(message, ...answers));
    }
  }

  async #offer(answer: Thenable<string | undefined>): Promise<void> {
    switch (await answer) {
      case "Restart":
        return this.restart();
      case "Show Log":
        return this.#log.show(true);
      case "Settings":
        return commands.executeCommand("workbench.action.openSettings", "palimpsest.server.path");
      case "Install…":
        return commands.executeCommand("palimpsest.installServer");
    }
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
      window.setStatusBarMessage(`Palimpsest: ${paused ? "paused" : "goes on"} (${what})`, 3000);
    }
  }

  async #pauseLanguage(): Promise<void> {
    const document = window.activeTextEditor?.document;
    if (document && this.#connection) {
      await this.#pause({ scope: "language", uri: this.#connection.uri(document) });
    }
  }

  /** What the doctor says of this machine and of the servers that run, in a panel of its own. */
  async #doctor(): Promise<void> {
    const found = await findServer(this.#setting("server.path", ""), machine());
    if ("missing" in found) {
      this.#told = "";
      this.#complain(found.missing, "Install…", "Settings");
      return;
    }
    const title = "Palimpsest: checking this machine";
    const report = await window.withProgress({ location: ProgressLocation.Notification, title }, async () => {
      const parts = [await output(found.program, ["doctor"]), await output(found.program, ["doctor", "--live"])];
      return parts.join("\n");
    });
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

function output(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: homedir(), env: { ...process.env, NO_COLOR: "1" } }, (error, stdout, stderr) => {
      resolve(`> ${[program, ...args].join(" ")}\n${stdout}${stderr}${stdout || stderr ? "" : String(error)}`);
    });
  });
}
