// How far a command is.

import { ProgressLocation, window } from "vscode";

const PATIENCE_MS = 500;

/** Progress in the status bar, away from what is painted; it comes only if there is time to read it. Escape cancels. */
export class Progress {
  #reported = 0;
  #said = "";
  #show: (() => void) | undefined;
  #end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve));
  readonly #timer: NodeJS.Timeout;

  constructor(title: string) {
    this.#timer = setTimeout(() => {
      void window.withProgress({ location: ProgressLocation.Window, title }, (progress) => {
        this.#show = () => progress.report({ message: `${this.#reported} % (Escape cancels)${this.#said}` });
        this.#show();
        return this.#ended;
      });
    }, PATIENCE_MS);
  }

  /** So many of a hundred, and what there is to read meanwhile. */
  report(percentage: number, message = ""): void {
    const said = message && `: ${message}`;
    if (percentage > this.#reported || said !== this.#said) {
      this.#reported = Math.max(percentage, this.#reported);
      this.#said = said;
      this.#show?.();
    }
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#end();
  }
}
