// Which settings go to the server, and by which way; knows nothing of the editor.

/** Keys that the server takes from the user's own set-up only, so that a folder that is opened cannot choose them. */
export const OWN = [
  "model",
  "adapter",
  "device",
  "dtype",
  "threads",
  "quantization",
  "profile",
  "fallback",
  "engine",
  "endpoint",
  "logText",
  "statistics",
  "trustWorkspace",
] as const;

/** Keys that mean something to the extension alone. */
const OURS = ["server", "ui"] as const;

/** Where a key of the section `palimpsest` has been set, as VS Code's inspect() says. */
export interface Inspected {
  readonly globalValue?: unknown;
}

/**
 * The section for `initializationOptions`: what the user chose, and what the server has to know from the beginning.
 * Drafts are always wanted, for the last one says that a fill is done; whether the others are shown is decided here.
 */
export function initial(inspect: (key: string) => Inspected | undefined, completion: unknown): Record<string, unknown> {
  const own = OWN.map((key) => [key, inspect(key)?.globalValue] as const).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(own), completion: completion ?? null, drafts: true };
}

/** A section of the configuration as the server is to see it. */
export function configured(section: unknown): unknown {
  if (typeof section !== "object" || section === null || Array.isArray(section)) {
    return section;
  }
  const left = new Set<string>([...OWN, ...OURS]);
  return { ...Object.fromEntries(Object.entries(section).filter(([key]) => !left.has(key))), drafts: true };
}
