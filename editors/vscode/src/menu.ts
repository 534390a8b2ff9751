// What a click on the status item opens: why there is nothing, and what can be done.

import { QuickPickItemKind, commands, window, type QuickPickItem } from "vscode";
import type { Nearby } from "./find";
import { CHOOSE, INSTALL } from "./program";
import type { Words } from "./words";

interface Entry extends QuickPickItem {
  readonly command?: string;
  readonly args?: readonly unknown[];
  readonly use?: string;
}

/** Show the menu, and do what is chosen; a program that is to be used is returned. language: of the active document. */
export async function showMenu(
  words: Words,
  language: string | undefined,
  running: boolean,
  nearby: Nearby | undefined,
): Promise<string | undefined> {
  const rule = { label: "", kind: QuickPickItemKind.Separator };
  const served: Entry[] = [
    words.paused
      ? { label: "$(debug-continue) Resume", command: "palimpsest.toggle" }
      : { label: "$(debug-pause) Pause", command: "palimpsest.toggle" },
    ...(language
      ? [{ label: `$(debug-pause) Pause or resume for ${language}`, command: "palimpsest.pauseLanguage" }]
      : []),
    { label: "$(refresh) Restart the server", command: "palimpsest.restart" },
  ];
  const absent: Entry[] = [
    ...(nearby
      ? [{ label: `$(check) Use ${nearby.name} of this folder`, detail: nearby.program, use: nearby.program }]
      : []),
    { label: "$(refresh) Start the server", command: "palimpsest.restart" },
    { label: `$(folder-opened) ${CHOOSE}`, command: "palimpsest.chooseProgram" },
    { label: `$(cloud-download) ${INSTALL}`, command: "palimpsest.installServer" },
  ];
  const entries: Entry[] = [
    ...(words.nothing
      ? [
          { label: "$(circle-slash) There was nothing to show", detail: words.nothing, command: "palimpsest.showLog" },
          rule,
        ]
      : []),
    ...(running ? served : absent),
    { label: "$(pulse) Check this machine", command: "palimpsest.doctor" },
    { label: "$(output) Show the log", command: "palimpsest.showLog" },
    {
      label: "$(gear) Settings",
      command: "workbench.action.openSettings",
      args: ["@ext:palimpsest.palimpsest"],
    },
  ];
  const chosen = await window.showQuickPick(entries, {
    title: `Palimpsest: ${words.headline}`,
    placeHolder: words.model,
  });
  if (chosen?.command) {
    await commands.executeCommand(chosen.command, ...(chosen.args ?? []));
  }
  return chosen?.use;
}
