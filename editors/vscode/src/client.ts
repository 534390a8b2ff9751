// The only module that knows vscode-languageclient: one connection to one server process after another.
// It is a bundle of its own, loaded when the first document is there, so that starting the editor does not wait for it.

import { spawn, type ChildProcess } from "node:child_process";
import { homedir } from "node:os";
import { createInterface } from "node:readline";
import { DiagnosticSeverity, languages, type LogOutputChannel, type Position, type TextDocument } from "vscode";
import {
  CloseAction,
  ErrorAction,
  ErrorCodes,
  ExecuteCommandRequest,
  LanguageClient,
  ResponseError,
  RevealOutputChannelOn,
  WorkDoneProgress,
  CancellationToken,
  State,
  type ExecuteCommandParams,
  type LSPAny,
  type Middleware,
} from "vscode-languageclient/node";
import type { Draft, NextEdit, Range, Status } from "./protocol";

export type { ApplyWorkspaceEditParams, ApplyWorkspaceEditResult, TextDocumentEdit } from "vscode-languageclient/node";

const MOST_DIAGNOSTICS = 100;

/** What the rest of the extension does for a connection. ended: the process is gone, and nobody asked it to go. */
export interface Hooks {
  readonly log: LogOutputChannel;
  readonly middleware: Middleware;
  initial(): unknown;
  status(status: Status): void;
  draft(draft: Draft): void;
  ready(): void;
  ended(why: string, starting: boolean): "restart" | "stay";
}

/** Told how much is done, of a hundred, and what there is to read meanwhile. */
type Report = (percentage: number, message?: string) => void;

/** A server at work. Commands have no result if it goes meanwhile. */
export interface Connection {
  readonly pid: number | undefined;
  execute<T>(command: string, ...args: readonly unknown[]): Promise<T | undefined>;
  run<T>(command: string, argument: unknown, token: CancellationToken, report: Report): Promise<T | undefined>;
  uri(document: TextDocument): string;
  same(uri: string, document: TextDocument): boolean;
  range(range: import("vscode").Range): Range;
  notify(method: string, params: unknown): void;
  status(): Promise<Status | undefined>;
  nextEdits(document: TextDocument, at: Position, invoked: boolean, token: CancellationToken): Promise<NextEdits | undefined>;
  stop(): Promise<void>;
}

/** The answer to `textDocument/copilotInlineEdit`. */
export interface NextEdits {
  readonly edits: readonly NextEdit[];
}

const REMEMBERED_LINES = 40;
const PATIENCE_MS = 1000;
const GONE = new Set<number>([ErrorCodes.PendingResponseRejected, ErrorCodes.ConnectionInactive]);
const NEVER = CancellationToken.None;

/** Start the server; ready when it has answered `initialize`. Throws if it does not come to that. */
export async function connect(program: string, args: readonly string[], hooks: Hooks): Promise<Connection> {
  let server = await Process.start(program, args, hooks.log);
  let fresh = true;
  let connected = false;
  let ready = false;
  let number = 0;

  const client = new Quiet(
    "palimpsest",
    "Palimpsest",
    async () => {
      if (!fresh) {
        server = await Process.start(program, args, hooks.log);
      }
      fresh = false;
      return server.child;
    },
    {
      documentSelector: [{ scheme: "file" }, { scheme: "untitled" }, { notebook: "*" }],
      outputChannel: hooks.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationOptions: () => hooks.initial(),
      initializationFailedHandler: () => false,
      middleware: hooks.middleware,
      stdioOptions: { stdout: () => undefined, stderr: () => undefined },
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: async () => {
          const why = await server.why();
          server.tell(hooks.log);
          const restart = connected && hooks.ended(why, !ready) === "restart" && ready;
          ready = false;
          return { action: restart ? CloseAction.Restart : CloseAction.DoNotRestart, message: why, handled: true };
        },
      },
    },
  );
  client.onNotification("palimpsest/status", (status: Status) => hooks.status(status));
  client.onNotification("palimpsest/draft", (draft: Draft) => hooks.draft(draft));
  client.onDidChangeState(({ newState }) => {
    if (newState === State.Running) {
      void client.start().then(() => {
        ready = true;
        hooks.ready();
      });
    }
  });

  const execute = (params: ExecuteCommandParams, token: CancellationToken = NEVER): Promise<unknown> =>
    client.sendRequest(ExecuteCommandRequest.type, params, token).catch((error: unknown) => {
      if (error instanceof ResponseError && GONE.has(error.code)) {
        return undefined; // whoever restarts the server says so
      }
      throw error;
    });
  try {
    await client.start();
    connected = true;
  } catch (error) {
    hooks.log.error(String(error));
    server.end();
    throw new Error(await server.why());
  }
  return {
    get pid() {
      return server.child.pid;
    },
    async execute<T>(command: string, ...args: readonly unknown[]) {
      return (await execute({ command, arguments: args as LSPAny[] })) as T | undefined;
    },
    async run<T>(command: string, argument: unknown, token: CancellationToken, report: Report) {
      const workDoneToken = `palimpsest-${process.pid}-${number++}`;
      const progress = client.onProgress(WorkDoneProgress.type, workDoneToken, (value) => {
        if (value.kind !== "end") {
          report(value.percentage ?? 0, value.message);
        }
      });
      try {
        return (await execute({ command, arguments: [argument as LSPAny], workDoneToken }, token)) as T | undefined;
      } finally {
        progress.dispose();
      }
    },
    uri: (document) => client.code2ProtocolConverter.asUri(document.uri),
    same: (uri, document) => client.protocol2CodeConverter.asUri(uri).toString() === document.uri.toString(),
    range: (range) => client.code2ProtocolConverter.asRange(range),
    notify(method, params) {
      client.sendNotification(method, params).catch((error: unknown) => hooks.log.debug(String(error)));
    },
    status: () => client.sendRequest<Status>("palimpsest/status", {}).catch(() => undefined),
    async nextEdits(document, at, invoked, token) {
      const textDocument = { uri: client.code2ProtocolConverter.asUri(document.uri), version: document.version };
      const context = { triggerKind: invoked ? 1 : 2 };
      // No server hears of what another one says of a file.
      const bad = languages.getDiagnostics(document.uri).filter((each) => each.severity <= DiagnosticSeverity.Warning);
      const diagnostics = bad.slice(0, MOST_DIAGNOSTICS).map(({ range, severity, message }) => ({
        range: client.code2ProtocolConverter.asRange(range),
        severity: severity + 1,
        message,
      }));
      try {
        return await client.sendRequest<NextEdits>(
          "textDocument/copilotInlineEdit",
          { textDocument, position: client.code2ProtocolConverter.asPosition(at), context, diagnostics },
          token,
        );
      } catch (error) {
        if (!token.isCancellationRequested) {
          hooks.log.warn(`next edit: ${String(error)}`);
        }
        return undefined;
      }
    },
    async stop() {
      await client.dispose(PATIENCE_MS * 2).catch((error: unknown) => hooks.log.debug(String(error)));
      server.end();
    },
  };
}

/** What goes wrong is said once, by those who know what it means; the library's own messages go to the log. */
class Quiet extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

/** A process of the server, with its last words. */
class Process {
  readonly #lines: string[] = [];
  readonly #ended: Promise<string>;

  private constructor(
    readonly child: ChildProcess,
    log: LogOutputChannel,
  ) {
    this.#ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with exit code ${code}`));
    });
    if (child.stderr) {
      createInterface({ input: child.stderr }).on("line", (line) => {
        log.debug(line);
        this.#lines.push(line);
        this.#lines.splice(0, this.#lines.length - REMEMBERED_LINES);
      });
    }
  }

  static async start(program: string, args: readonly string[], log: LogOutputChannel): Promise<Process> {
    // At home, not in the workspace: what lies there is to have no say in what the server imports.
    const child = spawn(program, ["serve", ...args], { cwd: homedir(), stdio: "pipe", windowsHide: true });
    const server = new Process(child, log);
    await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject));
    child.on("error", (error) => log.error(error));
    child.stdin.on("error", (error) => log.debug(String(error)));
    log.info(`${program} serve ${args.join(" ")}: process ${child.pid}`);
    return server;
  }

  /** How it ended, in words, with the last line that it wrote if it gave up by itself. */
  async why(): Promise<string> {
    const late = new Promise<string>((resolve) => setTimeout(resolve, PATIENCE_MS, "closed its output"));
    const how = await Promise.race([this.#ended, late]);
    const last = this.#lines.findLast((line) => line.trim()) ?? "";
    return /exit code [1-9]/.test(how) && last ? `${how}: ${last.trim().slice(0, 300)}` : how;
  }

  /** Put the last words in the log, where they have not been at that level yet. */
  tell(log: LogOutputChannel): void {
    if (this.#lines.length) {
      log.error(`the server's last words:\n${this.#lines.join("\n")}`);
    }
  }

  /** See to it that it ends. */
  end(): void {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      setTimeout(() => this.child.kill("SIGKILL"), PATIENCE_MS * 2).unref();
    }
  }
}
