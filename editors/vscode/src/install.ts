// Installs the server into an environment of its own, with pipx or uv, after a yes, in a terminal that the user sees.

import { spawn, type ChildProcess } from "node:child_process";
import { homedir } from "node:os";
import { EventEmitter, window, type Pseudoterminal } from "vscode";
import { findProgram, type Machine } from "./find";

/**
 * The name of the server on a package index, once there is a release. Until then it has to stay undefined: a name that
 * is not ours yet could be anybody's.
 */
const RELEASED: string | undefined = undefined;

interface Installer {
  readonly label: string;
  readonly program: string;
  readonly args: readonly string[];
}

/** Ask what to install and with what, and do it; whether it was done. */
export async function install(machine: Machine): Promise<boolean> {
  const installers: Installer[] = [];
  for (const [label, ...args] of [["uv", "tool", "install", "--force"], ["pipx", "install", "--force"]] as const) {
    const program = await findProgram(label, machine);
    if (program) {
      installers.push({ label, program, args });
    }
  }
  if (!installers.length) {
    void window.showErrorMessage("Palimpsest: installing needs pipx or uv, and neither of them is on the PATH.");
    return false;
  }
  const source = RELEASED ?? (await chosenSource());
  if (!source) {
    return false;
  }
  const installer = await window.showQuickPick(
    installers.map((each) => ({ ...each, detail: shown(each, source) })),
    { title: "Install the Palimpsest server", placeHolder: "Run this command in a terminal?" },
  );
  return installer !== undefined && (await run(installer, source)) === 0;
}

async function chosenSource(): Promise<string | undefined> {
  const wheel = { label: "$(package) A wheel file (.whl)", folder: false };
  const clone = { label: "$(repo) A clone of the repository", folder: true };
  const placeHolder = "There is no release on a package index yet. Where is the server?";
  const kind = await window.showQuickPick([wheel, clone], { title: "Install the Palimpsest server", placeHolder });
  if (!kind) {
    return undefined;
  }
  const [chosen] =
    (await window.showOpenDialog({
      canSelectFiles: !kind.folder,
      canSelectFolders: kind.folder,
      filters: kind.folder ? {} : { Wheel: ["whl"] },
      openLabel: "Install",
      title: kind.folder ? "The folder of the clone" : "The wheel file",
    })) ?? [];
  return chosen?.fsPath;
}

function shown({ program, args }: Installer, source: string): string {
  return [program, ...args, source].map((word) => (/^[\w./:\\-]+$/.test(word) ? word : `"${word}"`)).join(" ");
}

/** Run it in a terminal; its exit code. Without a shell, so that no character of a path means anything. */
function run(installer: Installer, source: string): Promise<number> {
  const { label, program, args } = installer;
  return new Promise((resolve) => {
    const output = new EventEmitter<string>();
    const say = (text: string): void => output.fire(text.replace(/\r?\n/g, "\r\n"));
    let child: ChildProcess | undefined;
    const pty: Pseudoterminal = {
      onDidWrite: output.event,
      open() {
        say(`> ${shown(installer, source)}\n`);
        child = spawn(program, [...args, source], { cwd: homedir(), stdio: ["ignore", "pipe", "pipe"] });
        child.stdout?.on("data", (data: Buffer) => say(data.toString()));
        child.stderr?.on("data", (data: Buffer) => say(data.toString()));
        child.once("error", (error) => say(`${error.message}\n`));
        child.once("close", (code) => {
          say(code === 0 ? "\nInstalled.\n" : "\nIt was not installed.\n");
          resolve(code ?? 1);
        });
      },
      close: () => child?.kill(),
      handleInput(keys) {
        if (keys === "\x03") {
          child?.kill();
        }
      },
    };
    window.createTerminal({ name: `Palimpsest: ${label}`, pty }).show();
  });
}
