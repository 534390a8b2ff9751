// Asks the user what is to be done, with what was said before at hand. That stays on this machine.

import { ThemeIcon, window, type Memento, type QuickInputButton, type QuickPickItem } from "vscode";

/** kind: what is said to one question is offered with the same one only. ready: what most models understand. */
export interface Question {
  readonly kind: string;
  readonly title: string;
  readonly placeholder: string;
  readonly ready: readonly string[];
}

const REMEMBERED = 30;
/** Longer ones cannot be told apart in a list. */
const LONGEST = 500;
/** The list has followed what was typed after so long. */
const FOLLOWS_MS = 300;
const KEY = "instructions";
const FORGET_ONE: QuickInputButton = { iconPath: new ThemeIcon("close"), tooltip: "Forget this one" };
const FORGET_ALL: QuickInputButton = { iconPath: new ThemeIcon("clear-all"), tooltip: "Forget all of them" };

type Said = Readonly<Record<string, readonly string[]>>;

/** What the user has said, the newest first; kept by the editor for this machine, and not synchronized. */
export class Instructions {
  constructor(private readonly memento: Memento) {}

  /** What is typed, or one of what was said before and what is ready-made; undefined if the user thinks better of it. */
  async ask({ kind, title, placeholder, ready }: Question): Promise<string | undefined> {
    const pick = window.createQuickPick();
    pick.title = title;
    pick.placeholder = placeholder;
    const draw = (): void => {
      const said = this.#said(kind);
      const typed = pick.value.trim();
      const item = (label: string): QuickPickItem => ({
        label,
        alwaysShow: true,
        ...(said.includes(label) ? { buttons: [FORGET_ONE] } : {}),
      });
      pick.items = [...new Set([...(typed ? [typed] : []), ...said, ...ready])].map(item);
      pick.buttons = said.length ? [FORGET_ALL] : [];
    };
    // The list follows what is typed a moment later: what was marked in it before does not count. VS Code tells of a
    // mark by its number, which is that of another line in the new list.
    let marked: string | undefined;
    let typedAt = 0;
    pick.onDidChangeValue(() => {
      marked = undefined;
      typedAt = Date.now();
      draw();
    });
    pick.onDidChangeActive(([first]) => {
      if (!pick.value || Date.now() - typedAt > FOLLOWS_MS) {
        marked = first?.label;
      }
    });
    pick.onDidTriggerButton(async () => {
      await this.#keep(kind, []);
      draw();
    });
    pick.onDidTriggerItemButton(async ({ item: { label } }) => {
      await this.#keep(kind, this.#said(kind).filter((each) => each !== label));
      draw();
    });
    draw();
    const chosen = await new Promise<string | undefined>((resolve) => {
      pick.onDidAccept(() => resolve(marked ?? pick.value.trim()));
      pick.onDidHide(() => resolve(undefined));
      pick.show();
    });
    pick.dispose();
    if (chosen && chosen.length <= LONGEST && !ready.includes(chosen)) {
      await this.#keep(kind, [chosen, ...this.#said(kind).filter((each) => each !== chosen)].slice(0, REMEMBERED));
    }
    return chosen || undefined;
  }

  /** Forget whatever was said. */
  async forget(): Promise<void> {
    await this.memento.update(KEY, undefined);
    window.setStatusBarMessage("Palimpsest: your instructions are forgotten", 3000);
  }

  #said(kind: string): readonly string[] {
    return this.memento.get<Said>(KEY, {})[kind] ?? [];
  }

  async #keep(kind: string, said: readonly string[]): Promise<void> {
    await this.memento.update(KEY, { ...this.memento.get<Said>(KEY, {}), [kind]: said });
  }
}
