// Which version of an answer stands in a document, and whether there is an earlier or a later one. The server keeps them.

import {
  Disposable,
  MarkdownString,
  StatusBarAlignment,
  TextDocumentChangeReason,
  commands,
  window,
  workspace,
  type TextDocument,
} from "vscode";
import type { Conversation } from "./protocol";

/** exact: nothing was undone or redone since the server said so, which can put another version there. */
interface Told extends Conversation {
  readonly exact: boolean;
}

/** One for each document, and an item in the status bar for that of the active one. */
export class Conversations implements Disposable {
  readonly #told = new Map<TextDocument, Told>();
  readonly #item = window.createStatusBarItem("palimpsest.conversation", StatusBarAlignment.Right, 99);
  readonly #disposables: Disposable[];

  constructor() {
    this.#item.name = "Palimpsest: Versions of an Answer";
    this.#item.command = "palimpsest.followUp";
    this.#disposables = [
      this.#item,
      window.onDidChangeActiveTextEditor(() => this.#draw()),
      workspace.onDidChangeTextDocument(({ document, reason }) => this.#changed(document, reason)),
      workspace.onDidCloseTextDocument((document) => this.tell(document, undefined)),
    ];
  }

  /** That is what the server says of a document; undefined if nothing there can be followed up. */
  tell(document: TextDocument, conversation: Conversation | undefined): void {
    if (conversation) {
      this.#told.set(document, { ...conversation, exact: true });
    } else {
      this.#told.delete(document);
    }
    this.#draw();
  }

  /** The server is gone, and what it knew. */
  clear(): void {
    this.#told.clear();
    this.#draw();
  }

  dispose(): void {
    Disposable.from(...this.#disposables).dispose();
  }

  #changed(document: TextDocument, reason: TextDocumentChangeReason | undefined): void {
    const told = this.#told.get(document);
    if (told && reason !== undefined) {
      this.#told.set(document, { ...told, exact: false });
      this.#draw();
    }
  }

  #draw(): void {
    const document = window.activeTextEditor?.document;
    const told = document && this.#told.get(document);
    const { version = 0, versions = 0, exact = true } = told ?? {};
    const earlier = told !== undefined && (version > 0 || !exact);
    const later = told !== undefined && (version < versions || !exact);
    for (const [key, value] of Object.entries({ conversation: told !== undefined, earlier, later })) {
      void commands.executeCommand("setContext", `palimpsest.${key}`, value);
    }
    if (!told) {
      this.#item.hide();
      return;
    }
    const counted = versions === 1 ? "1 answer" : `${versions} answers`;
    const which = !exact ? counted : version ? `${version} of ${versions}` : `original, ${counted}`;
    this.#item.text = `$(history) ${which}`;
    this.#item.accessibilityInformation = { label: `Palimpsest, versions of the answer: ${which}`, role: "button" };
    const links = [
      "[Follow up…](command:palimpsest.followUp)",
      ...(earlier ? ["[Earlier version](command:palimpsest.earlier)"] : []),
      ...(later ? ["[Later version](command:palimpsest.later)"] : []),
    ];
    const tooltip = new MarkdownString(`**Palimpsest** versions of the answer: ${which}\n\n${links.join(" | ")}`, true);
    tooltip.isTrusted = { enabledCommands: ["palimpsest.followUp", "palimpsest.earlier", "palimpsest.later"] };
    this.#item.tooltip = tooltip;
    this.#item.show();
  }
}
