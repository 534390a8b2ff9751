// How far a command is.

import { ProgressLocation, window } from "vscode";

const PATIENCE_MS = 500;

/** Progress in the status bar, away from what is painted; it comes only if there is time to read it. Escape cancels. */
export class Progress {
  #reported = 0;
  #show: (() => void) | undefined;
  #end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve));
  readonly #timer: NodeJS.Timeout;

  constructor(title: string) {
    this.#timer = setTimeout(() => {
      void window.withProgress({ location: ProgressLocation.Window, title }, (progress) => {
        this.#show = () => progress.report({ message: `${this.#reported} % (Escape cancels)` });
        this.#show();
        return this.#ended;
      });
    }, PATIENCE_MS);
  }

  /** So many of a hundred. */
  report(percentage: number): void {
    if (percentage > this.#reported) {
      this.#reported = percentage;
      this.#show?.();
    }
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#end();
  }
}
