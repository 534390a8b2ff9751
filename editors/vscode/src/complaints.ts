// Messages about a server that is not there: one of each until the user tries again, and none once it runs.

import { commands, window, type LogOutputChannel } from "vscode";

export type Answers = Readonly<Record<string, () => unknown>>;

export class Complaints {
  #told = "";
  /** For all that is known, one is on the screen. */
  #open = false;

  constructor(readonly log: LogOutputChannel) {}

  say(message: string, answers: Answers, show = window.showErrorMessage): void {
    this.log.error(message);
    if (message !== this.#told) {
      this.#told = message;
      this.#open = true;
      void answered(show(message, ...Object.keys(answers)), answers, () => (this.#open = false));
    }
  }

  /** The same message may be said once more. */
  forget(): void {
    this.#told = "";
  }

  /** The server runs. */
  over(): void {
    this.forget();
    if (this.#open) {
      this.#open = false;
      void commands.executeCommand("notifications.hideToasts"); // they stay behind the bell; ours is out of date
      window.setStatusBarMessage("Palimpsest: the server is running", 5000);
    }
  }
}

/** Do what was answered. closed: called before that, when the message is gone from the screen. */
export async function answered(
  answer: Thenable<string | undefined>,
  answers: Answers,
  closed: () => void = () => undefined,
): Promise<void> {
  const chosen = await answer;
  closed();
  await (chosen === undefined ? undefined : answers[chosen]?.());
}
