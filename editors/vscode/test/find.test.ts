import assert from "node:assert/strict";
import { test } from "node:test";
import { findServer, type Machine } from "../src/find";

function machine(programs: readonly string[], more: Partial<Machine> = {}): Machine {
  return {
    platform: "linux",
    path: "/usr/bin:/opt/bin",
    home: "/home/you",
    isProgram: async (path) => programs.includes(path),
    ...more,
  };
}

const cases: readonly [string, string, Machine, string | undefined][] = [
  ["the setting", "/code/palimpsest", machine(["/code/palimpsest", "/usr/bin/palimpsest"]), "/code/palimpsest"],
  ["a setting from home", "~/p/palimpsest", machine(["/home/you/p/palimpsest"]), "/home/you/p/palimpsest"],
  ["the first one on the PATH", "", machine(["/opt/bin/palimpsest", "/usr/bin/palimpsest"]), "/usr/bin/palimpsest"],
  ["where pipx and uv put it", " ", machine(["/home/you/.local/bin/palimpsest"]), "/home/you/.local/bin/palimpsest"],
  ["none", "", machine(["/code/palimpsest"]), undefined],
  ["a setting that is wrong is not passed over", "/gone", machine(["/usr/bin/palimpsest"]), undefined],
  ["not in the present folder", "", machine(["palimpsest", "./palimpsest"], { path: ":.:" }), undefined],
  [
    "on Windows",
    "",
    machine(["C:\\tools\\palimpsest.exe"], { platform: "win32", path: "C:\\Windows;C:\\tools", home: "C:\\you" }),
    "C:\\tools\\palimpsest.exe",
  ],
];

for (const [name, setting, on, expected] of cases) {
  test(`the server is found: ${name}`, async () => {
    const found = await findServer(setting, on);
    assert.equal("program" in found ? found.program : undefined, expected);
  });
}

test("what is missing is said with its name", async () => {
  assert.match(JSON.stringify(await findServer("/gone", machine([]))), /palimpsest\.server\.path names \/gone/);
  assert.match(JSON.stringify(await findServer("", machine([]))), /\/home\/you\/\.local\/bin/);
});
