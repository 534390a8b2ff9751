// The ways to install the server, as commands; knows nothing of the editor.

import { findProgram, inEnvironment, type Machine } from "./find";

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** A way to install a source (a wheel or a clone): commands, one after the other. */
export interface Installer {
  readonly label: string;
  commands(source: string): readonly Command[];
}

/** Asks a program for a line; undefined if it fails. */
export type Ask = (program: string, args: readonly string[]) => Promise<string | undefined>;

const PYTHONS = ["python3.13", "python3.12", "python3.11", "python3", "python"];
/** On Windows the only one that is on the PATH unless the user wishes more; it starts the newest. */
const LAUNCHER = "py";
const FITS = "import ensurepip, sys; print((3, 11) <= sys.version_info < (3, 14))";

export const NEEDED = "uv, pipx, or Python 3.11, 3.12 or 3.13 with venv (on Debian and Ubuntu: the package python3-venv)";

/** Those that work here. environment: the folder of the private environment, for venv and pip. */
export async function installers(machine: Machine, environment: string, ask: Ask): Promise<Installer[]> {
  const found: Installer[] = [];
  for (const [label, ...args] of [["uv", "tool", "install", "--force"], ["pipx", "install", "--force"]] as const) {
    const program = await findProgram(label, machine);
    if (program) {
      found.push({ label, commands: (source) => [{ program, args: [...args, source] }] });
    }
  }
  const python = await findPython(machine, ask);
  if (python) {
    const own = inEnvironment(environment, machine, "python");
    found.push({
      label: "venv and pip, into a folder of this extension",
      commands: (source) => [
        { program: python, args: ["-m", "venv", "--clear", environment] },
        { program: own, args: ["-m", "pip", "install", "--disable-pip-version-check", source] },
      ],
    });
  }
  return found;
}

async function findPython(machine: Machine, ask: Ask): Promise<string | undefined> {
  for (const name of machine.platform === "win32" ? [...PYTHONS, LAUNCHER] : PYTHONS) {
    const program = await findProgram(name, machine);
    if (program && (await ask(program, ["-c", FITS]))?.trim() === "True") {
      return program;
    }
  }
  return undefined;
}

/** A command as it would be typed. */
export function shown({ program, args }: Command): string {
  return [program, ...args].map((word) => (/^[\w./:\\-]+$/.test(word) ? word : `"${word}"`)).join(" ");
}
