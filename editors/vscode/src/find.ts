// Finds the server's program; knows nothing of the editor.

import { posix, win32 } from "node:path";

/** What can be known of a machine. isProgram: whether a path is a file that can be run. */
export interface Machine {
  readonly platform: NodeJS.Platform;
  /** Folders with programs, as in the variable PATH. */
  readonly path: string;
  readonly home: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Virtual environments that are the user's own: what *Install* made, and the one of the clone that this extension runs from. */
  readonly environments: readonly string[];
  isProgram(path: string): Promise<boolean>;
}

export type Found = { readonly program: string } | { readonly missing: string };

/** A program in a folder that is open. Nobody has said yet that it may be started. */
export interface Nearby {
  readonly program: string;
  /** Its path in that folder. */
  readonly name: string;
}

const NAME = "palimpsest";
/** The variables that say where pipx and uv put programs. */
const TOOLS = ["PIPX_BIN_DIR", "UV_TOOL_BIN_DIR", "XDG_BIN_HOME"];
const HOMEBREW = ["/usr/local/bin", "/opt/homebrew/bin"];

/** The program that the setting names; or else the first on the PATH, where installers put theirs, or in an own environment. */
export async function findServer(setting: string, machine: Machine): Promise<Found> {
  const { join } = paths(machine);
  if (setting.trim()) {
    const program = expanded(setting.trim(), machine);
    return (await machine.isProgram(program))
      ? { program }
      : { missing: `The setting palimpsest.server.path names ${program}, which is no program.` };
  }
  const places = machine.environments.map((each) => inEnvironment(each, machine));
  const program = (await findProgram(NAME, machine)) ?? (await first(places, machine));
  return program
    ? { program }
    : { missing: `The Palimpsest server is neither on the PATH nor in ${join(machine.home, ".local", "bin")}.` };
}

/** A program by its name, or undefined. Not in the present folder, which may be anybody's. */
export async function findProgram(name: string, machine: Machine): Promise<string | undefined> {
  const { delimiter, isAbsolute, join } = paths(machine);
  const usual = [...TOOLS.map((each) => machine.environment[each] ?? ""), join(machine.home, ".local", "bin")];
  const onPath = machine.path.split(delimiter).map((each) => (machine.platform === "win32" ? each.replaceAll('"', "") : each));
  const folders = [...onPath, ...usual, ...(machine.platform === "win32" ? [] : HOMEBREW)];
  const file = machine.platform === "win32" ? `${name}.exe` : name;
  return first(folders.filter((each) => isAbsolute(each)).map((each) => join(each, file)), machine);
}

/** The first server in a virtual environment of one of the folders that are open, or undefined. */
export async function findNearby(folders: readonly string[], machine: Machine): Promise<Nearby | undefined> {
  const { join, relative } = paths(machine);
  for (const folder of folders) {
    const places = [".venv", "venv"].map((each) => inEnvironment(join(folder, each), machine));
    const program = await first(places, machine);
    if (program) {
      return { program, name: relative(folder, program) };
    }
  }
  return undefined;
}

/** The environment that `make demo` makes in the clone that an extension runs from, if it runs from one. */
export function ofTheClone(extension: string, platform: NodeJS.Platform): string[] {
  const { basename, dirname, join } = platform === "win32" ? win32 : posix;
  const editors = dirname(extension);
  const fits = basename(extension) === "vscode" && basename(editors) === "editors";
  return fits ? [join(dirname(editors), ".venv")] : [];
}

/** A program of a virtual environment. */
export function inEnvironment(folder: string, { platform }: Pick<Machine, "platform">, name = NAME): string {
  return platform === "win32" ? win32.join(folder, "Scripts", `${name}.exe`) : posix.join(folder, "bin", name);
}

async function first(candidates: readonly string[], machine: Machine): Promise<string | undefined> {
  for (const each of candidates) {
    if (await machine.isProgram(each)) {
      return each;
    }
  }
  return undefined;
}

function paths({ platform }: Machine): typeof posix {
  return platform === "win32" ? win32 : posix;
}

function expanded(path: string, machine: Machine): string {
  return /^~(?=$|[/\\])/.test(path) ? machine.home + path.slice(1) : path;
}
