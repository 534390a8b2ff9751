// One window's session with the server: starts it, restarts it once, says why it is not there.

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { homedir } from "node:os";
import {
  Disposable,
  commands,
  window,
  workspace,
  type ExtensionContext,
  type TextDocument,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import type * as Client from "./client";
import { findServer, type Machine } from "./find";
import { Ghost } from "./ghost";
import type { Draft } from "./protocol";
import { OWN, configured, initial } from "./sections";
import { StatusItem } from "./status";

const SERVED = new Set(["file", "untitled", "vscode-notebook-cell"]);
/** Changes of these are taken up by a new server only. */
const RESTARTING = [...OWN, "completion", "server"].map((key) => `palimpsest.${key}`);
const AGAIN_MS = 10 * 60_000;

export class Session implements Disposable {
  readonly log = window.createOutputChannel("Palimpsest", { log: true });
  readonly status = new StatusItem();
  readonly ghost = new Ghost();
  connection: Client.Connection | undefined;
  #begun = false;
  #restarted = -Infinity;
  #queue: Promise<void> = Promise.resolve();
  readonly #disposables: Disposable[] = [this.log, this.status];

  constructor(readonly context: ExtensionContext) {}

  /** Bind the commands, and start the server as soon as there is a document. */
  begin(): void {
    this.#disposables.push(
      commands.registerCommand("palimpsest.restart", () => this.restart()),
      commands.registerCommand("palimpsest.showLog", () => this.log.show(true)),
      commands.registerCommand("palimpsest.dismiss", () => {
        this.ghost.dismiss();
        return commands.executeCommand("editor.action.inlineSuggest.hide");
      }),
      workspace.onDidOpenTextDocument((document) => this.#opened(document)),
      workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration("palimpsest.ui.statusItem")) {
          this.status.visible = this.setting("ui.statusItem", true);
        }
        if (this.#begun && RESTARTING.some((key) => event.affectsConfiguration(key))) {
          void this.restart();
        }
      }),
    );
    this.status.visible = this.setting("ui.statusItem", true);
    workspace.textDocuments.forEach((document) => this.#opened(document));
  }

  /** A setting of the section, as it holds for no document in particular. */
  setting<T>(key: string, otherwise: T): T {
    return workspace.getConfiguration("palimpsest").get(key, otherwise);
  }

  /** End the server and start it anew; one after the other, if several ask at once. */
  restart(): Promise<void> {
    this.#begun = true;
    this.#restarted = -Infinity;
    return (this.#queue = this.#queue.then(() => this.#start()));
  }

  async stop(): Promise<void> {
    await this.#queue;
    const connection = this.connection;
    this.connection = undefined;
    await connection?.stop();
  }

  dispose(): void {
    Disposable.from(...this.#disposables).dispose();
  }

  #opened(document: TextDocument): void {
    if (!this.#begun && SERVED.has(document.uri.scheme)) {
      void this.restart();
    }
  }

  async #start(): Promise<void> {
    const old = this.connection;
    this.connection = undefined;
    await old?.stop();
    this.ghost.dismiss();
    const found = await findServer(this.setting("server.path", ""), machine());
    if ("missing" in found) {
      this.status.tell({ absent: "missing", reason: found.missing });
      this.log.error(found.missing);
      return;
    }
    this.status.tell({ state: "starting", reason: "", model: "", device: "", lastEmpty: null, paused: [] });
    try {
      const { connect } = (await import("./client.js")) as typeof Client;
      this.connection = await connect(found.program, this.setting<string[]>("server.arguments", []), {
        log: this.log,
        middleware: this.#middleware(),
        initial: () => ({ palimpsest: this.#initial() }),
        status: (status) => this.status.tell(status),
        draft: (draft) => this.#drafted(draft),
        ended: (why, starting) => this.#ended(why, starting),
      });
    } catch (error) {
      this.log.error(error instanceof Error ? error : String(error));
      if (this.status.words.severity !== "error") {
        this.#ended(error instanceof Error ? error.message : String(error), true);
      }
    }
  }

  /** The process is gone. Once it is started again; who sees that happen twice in a short time is asked. */
  #ended(why: string, starting: boolean): "restart" | "stay" {
    this.ghost.dismiss();
    const again = !starting && Date.now() - this.#restarted > AGAIN_MS;
    this.#restarted = Date.now();
    const what = starting ? "did not start" : again ? "was started again, because it" : "is not started again: it";
    const message = `The Palimpsest server ${what}${starting ? ": it" : ""} ${why}.`;
    this.log.warn(message);
    if (again) {
      void this.#offer(window.showWarningMessage(message, "Show Log"));
      return "restart";
    }
    this.connection = undefined;
    this.status.tell({ absent: "ended", reason: message });
    void this.#offer(window.showErrorMessage(message, "Restart", "Show Log"));
    return "stay";
  }

  async #offer(answer: Thenable<string | undefined>): Promise<void> {
    const chosen = await answer;
    if (chosen) {
      await commands.executeCommand(chosen === "Restart" ? "palimpsest.restart" : "palimpsest.showLog");
    }
  }

  #initial(): Record<string, unknown> {
    const section = workspace.getConfiguration("palimpsest");
    return initial((key) => section.inspect(key), {
      completion: section.get("completion"),
      drafts: section.get("ui.drafts", true),
    });
  }

  #drafted(draft: Draft): void {
    const document = window.activeTextEditor?.document;
    if (document && this.connection?.same(draft.uri, document) && draft.hole === undefined) {
      this.ghost.take(draft, document);
    }
  }

  #middleware(): Middleware {
    return {
      provideInlineCompletionItems: this.ghost.provide,
      workspace: {
        configuration: async (params, token, next) => {
          const answer = await next(params, token);
          const drafts = this.setting("ui.drafts", true);
          return Array.isArray(answer)
            ? answer.map((each: unknown, index) =>
                params.items[index]?.section === "palimpsest" ? configured(each, drafts) : each,
              )
            : answer;
        },
        // Without the section: the server asks for it, folder by folder, and the answer goes through the above.
        didChangeConfiguration: (_sections, next) => next(undefined),
      },
    };
  }
}

function machine(): Machine {
  return {
    platform: process.platform,
    path: process.env["PATH"] ?? "",
    home: homedir(),
    async isProgram(path) {
      try {
        await access(path, constants.X_OK);
        return (await stat(path)).isFile();
      } catch {
        return false;
      }
    },
  };
}
