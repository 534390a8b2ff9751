// The place of the cursor after an inline suggestion was accepted.

import { Range, Selection, window, type InlineCompletionItem, type Position, type TextDocument } from "vscode";
import type { Middleware } from "vscode-languageclient/node";

type Next = Parameters<NonNullable<Middleware["provideInlineCompletionItems"]>>[4];

/** An answer to the editor's request. */
export type Items = Awaited<ReturnType<Next>>;

/** The suggestions of an answer, however it has them. */
export function listed(items: Items): readonly InlineCompletionItem[] {
  return (Array.isArray(items) ? items : items?.items) ?? [];
}

/** The command that puts the cursor where it belongs after a text was accepted. */
export const PLACE_CURSOR = "palimpsest.placeCursor";

/**
 * VS Code counts code points when it places the cursor behind an accepted text, and its columns are UTF-16 (1.139). So
 * a text with characters outside of the basic plane brings the place of the cursor along.
 */
export function withCursors(document: TextDocument, items: Items): Items {
  for (const item of listed(items)) {
    const { insertText: text, range } = item;
    if (typeof text === "string" && range && /[\ud800-\udfff]/.test(text)) {
      item.command = { title: "", command: PLACE_CURSOR, arguments: [document.uri.toString(), range.start, text] };
    }
  }
  return items;
}

/** Behind a text that begins there, if it is there. */
export function placeCursor(uri: string, start: Position, text: string): void {
  const editor = window.activeTextEditor;
  if (editor?.document.uri.toString() === uri) {
    const { document } = editor;
    const end = document.positionAt(document.offsetAt(start) + text.length);
    if (document.getText(new Range(start, end)) === text) {
      editor.selection = new Selection(end, end);
    }
  }
}
