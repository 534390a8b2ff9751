// This machine, as far as programs are looked for on it.

import { execFile } from "node:child_process";
import { constants, readFileSync, realpathSync } from "node:fs";
import { access, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { ofTheClone, type Machine } from "./find";

/** The folder of the private environment in the extension's storage. */
export const PRIVATE = "server";
const PATIENCE_MS = 10_000;

/** storage: a folder of the extension's own. extension: the one that it runs from. */
export function machine(storage: string, extension: string): Machine {
  return {
    platform: process.platform,
    path: [process.env.PATH ?? "", pathOfTheWorkbench()].join(delimiter),
    home: homedir(),
    environment: process.env,
    environments: [join(storage, PRIVATE), ...ofTheClone(resolved(extension), process.platform)],
    async isProgram(path) {
      try {
        await access(path, constants.X_OK);
        return (await stat(path)).isFile();
      } catch {
        return false;
      }
    },
  };
}

/** What a program writes, or undefined if it fails. At home: what lies in a workspace is to have no say in it. */
export function output(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: homedir(), timeout: PATIENCE_MS, windowsHide: true }, (error, stdout) =>
      resolve(error ? undefined : stdout),
    );
  });
}

/**
 * The PATH that the workbench was started with. Where the workbench is served to a browser or to another machine, it gives
 * its extensions the PATH of the login shell in place of its own; only Linux tells what that was.
 */
function pathOfTheWorkbench(): string {
  try {
    const variables = readFileSync(`/proc/${process.ppid}/environ`, "utf8").split("\0");
    return variables.find((each) => each.startsWith("PATH="))?.slice("PATH=".length) ?? "";
  } catch {
    return "";
  }
}

/** A link to `editors/vscode` of a clone, among the extensions, is that clone. */
function resolved(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return folder;
  }
}
