// Live drafts in ghost text: answers the editor's own requests with what the model has so far.
//
// The stock ghost text cannot be told of news. It is made to ask again (hide, then trigger), and that request is
// answered here, so that the server hears of none but the last one, for which it has kept the answer.

import {
  CancellationTokenSource,
  InlineCompletionItem,
  InlineCompletionTriggerKind,
  Range,
  commands,
  window,
  type CancellationToken,
  type InlineCompletionContext,
  type Position,
  type TextDocument,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { listed, withCursors, type Items } from "./acceptedCursor";
import type { Draft } from "./protocol";
import { Settling } from "./settling";

type Next = Parameters<NonNullable<Middleware["provideInlineCompletionItems"]>>[4];

const REPAINT_MS = 200;
const PATIENCE_MS = 30_000;

/** Where the editor asked last, and what it shows there. early: answers the waiting request before the server does. */
class Place {
  readonly version: number;
  readonly settling = new Settling();
  shown: string | undefined;
  early: ((text: string) => void) | undefined;
  /** What our own next request is answered with. */
  offer: string | undefined;
  painted = 0;
  /** The user asked for it, so there may be several to choose from in the end. */
  invoked = false;
  /** The editor no longer waits for an answer. */
  cancelled = false;
  /** A request waits for the end. */
  written: ((text: string) => void) | undefined;

  constructor(
    readonly document: TextDocument,
    readonly position: Position,
    /** An entry of the completion list is selected: leave it alone. */
    readonly inList: boolean,
  ) {
    this.version = document.version;
  }

  is(document: TextDocument, position: Position): boolean {
    return this.document === document && this.version === document.version && this.position.isEqual(position);
  }

  item(text: string): InlineCompletionItem[] {
    return [new InlineCompletionItem(text, new Range(this.position, this.position))];
  }
}

/** The ghost text of one window. */
export class Ghost {
  #place: Place | undefined;
  #triggers = 0;
  #drafting = false;

  /**
   * unknown: called when nothing is asked because VS Code knows no language for the document. other: what is to be
   * shown in a place without asking, if anything.
   */
  constructor(
    private readonly unknown: () => void,
    private readonly other: (document: TextDocument, position: Position) => string | undefined,
  ) {}

  /** Show what `other` has now, or nothing if it has nothing any more. */
  show(something: boolean): void {
    this.dismiss();
    if (something) {
      this.#again();
    } else {
      void commands.executeCommand("editor.action.inlineSuggest.hide");
    }
  }

  /** Middleware of the inline completion request. */
  readonly provide = async (
    document: TextDocument,
    position: Position,
    context: InlineCompletionContext,
    token: CancellationToken,
    next: Next,
  ): Promise<Items> => withCursors(document, await this.#provide(document, position, context, token, next));

  /** Ask for what the editor would have asked for, had there been a server. */
  catchUp(): void {
    this.dismiss();
    this.#again();
  }

  /** Whether the editor asked about the document as it is now, and did not take the question back. */
  asked(document: TextDocument): boolean {
    const place = this.#place;
    return place?.document === document && place.version === document.version && !place.cancelled;
  }

  readonly #provide = async (
    document: TextDocument,
    position: Position,
    context: InlineCompletionContext,
    token: CancellationToken,
    next: Next,
  ): Promise<Items> => {
    const other = this.other(document, position);
    if (other !== undefined) {
      return [new InlineCompletionItem(other, new Range(position, position))];
    }
    const ours = this.#triggers > 0 && context.triggerKind === InlineCompletionTriggerKind.Invoke;
    const there = this.#place?.is(document, position) ? this.#place : undefined;
    if (ours && there?.offer !== undefined) {
      return there.item(there.offer);
    }
    const invoked = context;
    const unasked = ours && !there;
    if (unasked) {
      // A key was faster than our trigger, or there was no server: nobody asked by hand for what is there now.
      context = { ...context, triggerKind: InlineCompletionTriggerKind.Automatic };
    }
    if (document.languageId === "plaintext" && context.triggerKind === InlineCompletionTriggerKind.Automatic) {
      this.unknown();
      return [];
    }
    const inList = context.selectedCompletionInfo !== undefined;
    const place = there?.inList === inList ? there : new Place(document, position, inList);
    place.invoked = context.triggerKind === InlineCompletionTriggerKind.Invoke && !ours;
    this.#move(place);
    const items = await this.#ask(place, document, position, context, token, next);
    // The editor takes our trigger for a question by hand, and asks no second one in the same place.
    return unasked && !first(items) && (await this.#written(place, token))
      ? next(document, position, invoked, token)
      : items;
  };

  /** Whether there is something in the end, of which the server said that it is not ready. */
  #written(place: Place, token: CancellationToken): Promise<boolean> {
    return new Promise((resolve) => {
      token.onCancellationRequested(() => resolve(false));
      setTimeout(() => resolve(false), PATIENCE_MS);
      place.written = (text) => resolve(text !== "");
    });
  }

  /** Ask the server; a draft may be the answer before its own is there, and the server goes on with its work then. */
  async #ask(
    place: Place,
    document: TextDocument,
    position: Position,
    context: InlineCompletionContext,
    token: CancellationToken,
    next: Next,
  ): Promise<Items> {
    const patience = new CancellationTokenSource();
    place.cancelled = false;
    const leaving = token.onCancellationRequested(() => {
      place.cancelled = true;
      patience.cancel();
    });
    const drafted = new Promise<Items>((resolve) => {
      place.early = (text) => {
        leaving.dispose();
        place.early = undefined;
        resolve(place.item(text));
      };
    });
    const early = place.early;
    const answered = Promise.resolve(next(document, position, context, patience.token)).then(
      (items) => {
        if (place.early === early) {
          place.early = undefined;
          place.shown = first(items);
        }
        return items;
      },
      (error: unknown) => {
        if (place.early === early) {
          place.early = undefined;
        }
        throw error;
      },
    );
    try {
      return await Promise.race([drafted, answered]);
    } finally {
      leaving.dispose();
      answered.catch(() => undefined).finally(() => patience.dispose());
    }
  }

  /** A draft arrived; `document` is the one it is about. */
  take(draft: Draft, document: TextDocument): void {
    const place = this.#place;
    const { line, character } = draft.position;
    if (
      !place ||
      (place.inList && !draft.final) ||
      place.document !== document ||
      draft.version !== place.version ||
      line !== place.position.line ||
      character !== place.position.character ||
      !here(place)
    ) {
      return;
    }
    if (draft.final) {
      this.#end(place, draft.text);
      return;
    }
    if (place.written) {
      return;
    }
    const text = place.early || Date.now() - place.painted >= REPAINT_MS ? place.settling.next(draft.text) : undefined;
    if (text === undefined) {
      return;
    }
    place.painted = Date.now();
    place.shown = text;
    this.#showing(true);
    if (place.early) {
      place.early(text);
    } else {
      place.offer = text;
      this.#again();
    }
  }

  /** Forget what was shown, so that no draft brings it back: it was dismissed, or the server is gone. */
  dismiss(): void {
    this.#move(undefined);
  }

  #move(place: Place | undefined): void {
    if (place !== this.#place) {
      this.#place = place;
      this.#showing(false);
    }
  }

  /** Whether it is a draft that is shown: Escape has to stop those that come after it, too. */
  #showing(drafts: boolean): void {
    if (drafts !== this.#drafting) {
      this.#drafting = drafts;
      void commands.executeCommand("setContext", "palimpsest.drafting", drafts);
    }
  }

  #end(place: Place, text: string): void {
    place.offer = undefined;
    this.#showing(false);
    if (place.written) {
      place.written(text);
      place.written = undefined;
      return;
    }
    if (place.early || (place.shown === text && !(place.invoked && place.painted))) {
      return; // the server's own answer is on its way, or shown
    }
    if (text) {
      this.#again();
    } else if (place.shown) {
      void commands.executeCommand("editor.action.inlineSuggest.hide");
    }
  }

  #again(): void {
    this.#triggers++;
    const trigger = "editor.action.inlineSuggest.trigger";
    const asked = this.#place?.inList
      ? commands.executeCommand(trigger)
      : // In one call, so that there is nothing to be seen of it but for a frame or two.
        commands.executeCommand("runCommands", { commands: ["editor.action.inlineSuggest.hide", trigger] });
    asked.then(
      () => this.#triggers--,
      () => this.#triggers--,
    );
  }
}

/** The cursor is still there, in the active editor, and nothing has been typed since. */
function here(place: Place): boolean {
  const editor = window.activeTextEditor;
  return (
    editor?.document === place.document &&
    editor.selection.isEmpty &&
    place.is(editor.document, editor.selection.active)
  );
}

function first(items: Items): string {
  const text = listed(items)[0]?.insertText ?? "";
  return typeof text === "string" ? text : text.value;
}
