import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { OWN, configured, initial } from "../src/sections";

interface Property {
  readonly scope?: string;
  readonly default?: unknown;
  readonly markdownDescription?: string;
}

interface Manifest {
  readonly contributes: { readonly configuration: readonly { readonly properties: Record<string, Property> }[] };
}

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;
const properties = Object.fromEntries(
  manifest.contributes.configuration.flatMap((group) => Object.entries(group.properties)),
);
const keys = Object.keys(properties).map((key) => key.replace(/^palimpsest\./, ""));
const documented = [...readFileSync("../../docs/settings.md", "utf8").matchAll(/^\| `(\w+)` \|.*\|([^|]*)\|$/gm)];

test("every setting of the server is there under its own name, but the one that the extension decides", () => {
  const ours = keys.filter((key) => !/^(server|ui)\./.test(key));
  assert.deepEqual(ours.toSorted(), documented.map(([, key]) => key).filter((key) => key !== "drafts").toSorted());
});

test("what is the user's own to choose is of the machine, and nothing else of the server", () => {
  const own = documented.filter(([, , tags]) => tags?.includes("own")).map(([, key]) => key);
  assert.deepEqual([...OWN].toSorted(), own.toSorted());
  for (const key of keys) {
    const machine = (OWN as readonly string[]).includes(key) || key.startsWith("server.");
    assert.equal(properties[`palimpsest.${key}`]?.scope === "machine", machine, key);
  }
});

test("every setting has a description and a default", () => {
  for (const [key, property] of Object.entries(properties)) {
    assert.ok(property.markdownDescription && "default" in property, key);
  }
});

test("what only the extension knows is never sent, nor what a workspace may not choose", () => {
  const own = { model: "x", device: "cpu", logText: true };
  const section = { enable: true, ...own, ui: { drafts: true }, server: {}, new: 1 };
  assert.deepEqual(configured(section), { enable: true, new: 1, drafts: true });
  for (const none of [null, undefined, "text", [1]]) {
    assert.deepEqual(configured(none), none);
  }
});

test("initialization options have the user's own values, and no others", () => {
  const set: Record<string, { globalValue?: unknown; workspaceValue?: unknown }> = {
    model: { globalValue: "mine", workspaceValue: "theirs" },
    device: { workspaceValue: "cuda" },
    threads: { globalValue: null },
    seed: { globalValue: 3 },
  };
  assert.deepEqual(
    initial((key) => set[key], "auto"),
    { model: "mine", threads: null, completion: "auto", drafts: true },
  );
});
