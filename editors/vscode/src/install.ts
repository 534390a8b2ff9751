// Installs the server into an environment of its own, after a yes, in a terminal that the user sees.

import { spawn, type ChildProcess } from "node:child_process";
import { homedir } from "node:os";
import { EventEmitter, window, type Pseudoterminal } from "vscode";
import type { Machine } from "./find";
import { NEEDED, installers, shown, type Command } from "./installers";
import { output } from "./machine";

/**
 * The name of the server on a package index, once there is a release. Until then it has to stay undefined: a name that
 * is not ours yet could be anybody's.
 */
const RELEASED: string | undefined = undefined;
const TITLE = "Install the Palimpsest server";

/** What became of it: done, given up by the user, or a sentence. */
export type Outcome = "installed" | "left" | { readonly failed: string };

/** Ask what to install and with what, and do it. environment: the folder for a private environment. */
export async function install(machine: Machine, environment: string): Promise<Outcome> {
  const ways = await installers(machine, environment, output);
  if (!ways.length) {
    return { failed: `Installing the Palimpsest server needs ${NEEDED}, and none of them was found.` };
  }
  const source = RELEASED ?? (await chosenSource());
  if (!source) {
    return "left";
  }
  const entries = ways.map((way) => ({
    label: way.label,
    commands: way.commands(source),
    detail: way.commands(source).map(shown).join("; "),
  }));
  const chosen = await window.showQuickPick(entries, { title: TITLE, placeHolder: "Run this in a terminal?" });
  if (!chosen) {
    return "left";
  }
  return (await run(chosen.label, chosen.commands))
    ? "installed"
    : { failed: "The Palimpsest server was not installed; the terminal says why." };
}

async function chosenSource(): Promise<string | undefined> {
  const wheel = { label: "$(package) A wheel file (.whl)", folder: false };
  const clone = { label: "$(repo) A clone of the repository", folder: true };
  const placeHolder = "There is no release on a package index yet. Where is the server?";
  const kind = await window.showQuickPick([wheel, clone], { title: TITLE, placeHolder });
  if (!kind) {
    return undefined;
  }
  const [chosen] =
    (await window.showOpenDialog({
      canSelectFiles: !kind.folder,
      canSelectFolders: kind.folder,
      ...(kind.folder ? {} : { filters: { Wheel: ["whl"] } }),
      openLabel: "Install",
      title: kind.folder ? "The folder of the clone" : "The wheel file",
    })) ?? [];
  return chosen?.fsPath;
}

/** Run the commands in a terminal; whether all of them succeeded. */
function run(name: string, commands: readonly Command[]): Promise<boolean> {
  return new Promise((resolve) => {
    const written = new EventEmitter<string>();
    const say = (text: string): void => written.fire(text.replace(/\r?\n/g, "\r\n"));
    let child: ChildProcess | undefined;
    let ended = false;
    const stop = (): void => {
      ended = true;
      child?.kill();
    };
    const all = async (): Promise<boolean> => {
      for (const command of commands) {
        say(`> ${shown(command)}\n`);
        if (ended || !(await succeeds(command, say, (each) => (child = each)))) {
          return false;
        }
      }
      return true;
    };
    const pty: Pseudoterminal = {
      onDidWrite: written.event,
      async open() {
        const done = await all();
        say(done ? "\nInstalled.\n" : "\nIt was not installed.\n");
        resolve(done);
      },
      close: stop,
      handleInput(keys) {
        if (keys === "\x03") {
          stop();
        }
      },
    };
    window.createTerminal({ name: `Palimpsest: ${name}`, pty }).show();
  });
}

/** Without a shell, so that no character of a path means anything. */
function succeeds(
  { program, args }: Command,
  say: (text: string) => void,
  started: (child: ChildProcess) => void,
): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: homedir(), stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    started(child);
    child.stdout.on("data", (data: Buffer) => say(data.toString()));
    child.stderr.on("data", (data: Buffer) => say(data.toString()));
    child.once("error", (error) => say(`${error.message}\n`));
    child.once("close", (code) => resolve(code === 0));
  });
}
