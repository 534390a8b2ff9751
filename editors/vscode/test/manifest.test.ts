import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

interface Step {
  readonly id: string;
  readonly description: string;
  readonly media: { readonly markdown: string };
  readonly completionEvents: readonly string[];
}

interface Manifest {
  readonly icon: string;
  readonly version: string;
  readonly homepage: string;
  readonly contributes: {
    readonly commands: readonly { readonly command: string }[];
    readonly configuration: readonly { readonly properties: object }[];
    readonly walkthroughs: readonly { readonly steps: readonly Step[] }[];
  };
}

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;
const commands = new Set(manifest.contributes.commands.map((each) => each.command));
const settings = new Set(manifest.contributes.configuration.flatMap((each) => Object.keys(each.properties)));

for (const { id, description, media, completionEvents } of manifest.contributes.walkthroughs.flatMap((each) => each.steps)) {
  test(`the step ${id} of the walkthrough has its page, and names only commands and settings that exist`, () => {
    assert(existsSync(media.markdown), media.markdown);
    const page = readFileSync(media.markdown, "utf8");
    const named = [description, ...completionEvents].flatMap((each) => [
      ...each.matchAll(/(?<kind>command|onCommand|onSettingChanged):(?<name>palimpsest\.[\w.]+)/g),
    ]);
    for (const { groups } of named) {
      assert((groups?.kind === "onSettingChanged" ? settings : commands).has(groups?.name ?? ""), groups?.name);
    }
    for (const [, name] of page.matchAll(/`(palimpsest\.[\w.]+)`/g)) {
      assert(settings.has(name ?? ""), name);
    }
    assert(completionEvents.length > 0);
  });
}

test("the icon is a square PNG of 128 points at least", () => {
  const head = readFileSync(manifest.icon).subarray(0, 24);
  assert.equal(head.toString("latin1", 1, 4), "PNG");
  assert.equal(head.readUInt32BE(16), head.readUInt32BE(20));
  assert(head.readUInt32BE(16) >= 128);
});

test("the changelog has the version of the package", () => {
  assert.match(readFileSync("CHANGELOG.md", "utf8"), new RegExp(`^## ${manifest.version.replaceAll(".", "\\.")}$`, "m"));
});

test("all addresses of the repository are the same", () => {
  const addresses = [...readFileSync("package.json", "utf8").matchAll(/https:\/\/github\.com\/[\w-]+\/[\w-]+/g)];
  assert.deepEqual(new Set(addresses.map(([address]) => address)), new Set([manifest.homepage]));
});
