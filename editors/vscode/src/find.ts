// Finds the server's program; knows nothing of the editor.

import { posix, win32 } from "node:path";

/** What can be known of a machine. isProgram: whether a path is a file that can be run. */
export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly path: string;
  readonly home: string;
  isProgram(path: string): Promise<boolean>;
}

export type Found = { readonly program: string } | { readonly missing: string };

/** The program that the setting names, or else the one on the PATH, or else the one where pipx and uv put theirs. */
export async function findServer(setting: string, machine: Machine): Promise<Found> {
  const { join } = machine.platform === "win32" ? win32 : posix;
  if (setting.trim()) {
    const program = expanded(setting.trim(), machine);
    return (await machine.isProgram(program))
      ? { program }
      : { missing: `The setting palimpsest.server.path names ${program}, which is no program.` };
  }
  const program = await findProgram("palimpsest", machine);
  return program
    ? { program }
    : { missing: `The Palimpsest server is neither on the PATH nor in ${join(machine.home, ".local", "bin")}.` };
}

/** A program by its name, or undefined. Not in the present folder, which may be anybody's. */
export async function findProgram(name: string, machine: Machine): Promise<string | undefined> {
  const { delimiter, isAbsolute, join } = machine.platform === "win32" ? win32 : posix;
  const file = machine.platform === "win32" ? `${name}.exe` : name;
  for (const folder of [...machine.path.split(delimiter), join(machine.home, ".local", "bin")]) {
    if (isAbsolute(folder) && (await machine.isProgram(join(folder, file)))) {
      return join(folder, file);
    }
  }
  return undefined;
}

function expanded(path: string, machine: Machine): string {
  return /^~(?=$|[/\\])/.test(path) ? machine.home + path.slice(1) : path;
}
