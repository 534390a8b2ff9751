// This machine, as far as programs are looked for on it.

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { homedir } from "node:os";
import type { Machine } from "./find";

export function machine(): Machine {
  return {
    platform: process.platform,
    path: process.env["PATH"] ?? "",
    home: homedir(),
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
