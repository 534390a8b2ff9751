// The status item: what the server is doing, and why there was nothing to show.

import { MarkdownString, StatusBarAlignment, ThemeColor, window, type Disposable } from "vscode";
import type { Status } from "./protocol";
import { sentence, words, type Absent, type Words } from "./words";

/** In the status bar, with a menu behind it. */
export class StatusItem implements Disposable {
  readonly #item = window.createStatusBarItem("palimpsest.status", StatusBarAlignment.Right, 100);
  #words: Words = words({ absent: "idle", reason: "it starts with the first file that you open" });
  #told: Status | Absent | undefined;
  #visible = false;

  constructor() {
    this.#item.name = "Palimpsest";
    this.#item.command = "palimpsest.showStatus";
    this.#draw();
  }

  get words(): Words {
    return this.#words;
  }

  /** Show that. */
  tell(status: Status | Absent): void {
    this.#told = status;
    this.#words = words(status);
    this.#draw();
  }

  /** Nothing was asked, because VS Code knows no language for the document. */
  unknown(): void {
    this.#words = { ...this.#words, nothing: "VS Code knows no language for this file" };
    this.#draw();
  }

  /** Another document is looked at: why there was nothing in the last one is no news here. */
  left(): void {
    if (this.#told && "state" in this.#told) {
      this.tell({ ...this.#told, lastEmpty: null, lastDoubt: "" });
    }
  }

  set visible(visible: boolean) {
    this.#visible = visible;
    this.#draw();
  }

  dispose(): void {
    this.#item.dispose();
  }

  #draw(): void {
    const { icon, severity, headline, model, nothing, doubt } = this.#words;
    this.#item.text = `$(${icon}) Palimpsest`;
    this.#item.accessibilityInformation = { label: sentence(this.#words), role: "button" };
    const tooltip = new MarkdownString(undefined, true);
    tooltip.appendMarkdown("**Palimpsest** ").appendText(headline);
    if (model) {
      tooltip.appendMarkdown("\n\n$(chip) ").appendText(model);
    }
    if (nothing) {
      tooltip.appendMarkdown("\n\n$(circle-slash) Nothing to show: ").appendText(nothing);
    }
    if (doubt) {
      tooltip.appendMarkdown("\n\n$(question) Shown because you asked: ").appendText(doubt);
    }
    this.#item.tooltip = tooltip;
    this.#item.backgroundColor =
      severity === "error" ? new ThemeColor("statusBarItem.errorBackground") : undefined;
    if (this.#visible) {
      this.#item.show();
    } else {
      this.#item.hide();
    }
  }
}
