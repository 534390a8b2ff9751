// What the doctor says of this machine and of the servers that run.

import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { ProgressLocation, window } from "vscode";

export function examine(program: string): Thenable<string> {
  const title = "Palimpsest: checking this machine";
  return window.withProgress({ location: ProgressLocation.Notification, title }, async () => {
    // The verdict at the end, which is what VS Code scrolls to.
    const parts = [await written(program, ["doctor", "--live"]), await written(program, ["doctor"])];
    return parts.join("\n");
  });
}

function written(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const options = { cwd: homedir(), env: { ...process.env, NO_COLOR: "1" }, windowsHide: true };
    execFile(program, args, options, (error, stdout, stderr) => {
      resolve(`> ${[program, ...args].join(" ")}\n${stdout}${stderr}${stdout || stderr ? "" : error?.message ?? ""}`);
    });
  });
}
