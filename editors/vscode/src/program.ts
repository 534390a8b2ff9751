// The server's program: finds it, and where it is not to be found, asks the user for it.
//
// A folder that is open does not choose a program: one that lies in it is started only after a yes, which makes it the
// user's own setting.

import { ConfigurationTarget, commands, window, workspace } from "vscode";
import type { Complaints } from "./complaints";
import { findNearby, findServer, type Found, type Machine, type Nearby } from "./find";
import { install } from "./install";
import { output } from "./machine";

export const CHOOSE = "Choose the Program…";
export const INSTALL = "Install…";
const AGAIN = "Try Again";
const SHOW = "Show Me How";
const WALKTHROUGH = "palimpsest.palimpsest#start";

export class Program {
  /** environment: the folder for an environment that *Install* makes. restart: start the server anew. */
  constructor(
    readonly machine: Machine,
    readonly environment: string,
    readonly complaints: Complaints,
    readonly restart: () => Promise<void>,
  ) {}

  find(): Promise<Found> {
    return findServer(workspace.getConfiguration("palimpsest").get("server.path", ""), this.machine);
  }

  /** One in a folder that is open, if the user trusts that at all. */
  nearby(): Promise<Nearby | undefined> {
    const folders = workspace.isTrusted ? (workspace.workspaceFolders ?? []) : [];
    const local = folders.filter(({ uri }) => uri.scheme === "file");
    return findNearby(local.map(({ uri }) => uri.fsPath), this.machine);
  }

  /** There is none: say so. One in a folder that is open is offered, and not started unless the user says yes. */
  async ask(missing: string): Promise<void> {
    const nearby = await this.nearby();
    if (nearby) {
      const use = `Use ${nearby.name} of this folder`;
      const message = `Start the Palimpsest server that lies in this folder? It is ${nearby.program}; no other was found.`;
      this.complaints.say(message, { [use]: () => this.use(nearby.program) }, window.showInformationMessage);
    } else {
      this.complaints.say(missing, { [INSTALL]: () => this.install(), [CHOOSE]: () => this.choose() });
    }
  }

  /** The user wants that one from now on: it goes into the user's settings. */
  async use(program: string): Promise<void> {
    const section = workspace.getConfiguration("palimpsest");
    if (section.get("server.path", "") === program) {
      return this.restart();
    }
    await section.update("server.path", program, ConfigurationTarget.Global); // starts the server anew
  }

  /** Let the user say where the program is. */
  async choose(): Promise<void> {
    const title = "The program palimpsest";
    // No empty filters: VS Code's own dialog, of windows whose folder is elsewhere, would list no file at all.
    const only = this.machine.platform === "win32" ? { filters: { Program: ["exe"] } } : {};
    const [chosen] = (await window.showOpenDialog({ title, openLabel: "Use This Program", ...only })) ?? [];
    if (!chosen) {
      return;
    }
    const said = await output(chosen.fsPath, ["--version"]);
    if (said?.startsWith("palimpsest")) {
      return this.use(chosen.fsPath);
    }
    const message = `${chosen.fsPath} is not the program palimpsest. In a virtual environment, it lies in its folder bin or Scripts.`;
    if ((await window.showErrorMessage(message, CHOOSE)) === CHOOSE) {
      await this.choose();
    }
  }

  async install(): Promise<void> {
    const outcome = await install(this.machine, this.environment);
    if (outcome === "left") {
      return;
    }
    if (outcome !== "installed") {
      const answer = await window.showErrorMessage(outcome.failed, CHOOSE, AGAIN);
      return answer === CHOOSE ? this.choose() : answer === AGAIN ? this.install() : undefined;
    }
    await this.restart();
    if ("missing" in (await this.find())) {
      return; // which was said
    }
    const next = "The Palimpsest server is installed. Open a Python file, go to a blank line, and pause.";
    if ((await window.showInformationMessage(next, SHOW)) === SHOW) {
      await commands.executeCommand("workbench.action.openWalkthrough", WALKTHROUGH);
    }
  }
}
