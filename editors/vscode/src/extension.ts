// The extension's entry: what VS Code offers, bound to the modules that do it.

import { type ExtensionContext } from "vscode";
import { Session } from "./session";

let session: Session | undefined;

export function activate(context: ExtensionContext): void {
  session = new Session(context);
  context.subscriptions.push(session);
  session.begin();
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}
