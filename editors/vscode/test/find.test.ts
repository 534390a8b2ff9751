import assert from "node:assert/strict";
import { test } from "node:test";
import { findNearby, findServer, ofTheClone, type Machine } from "../src/find";

function machine(programs: readonly string[], more: Partial<Machine> = {}): Machine {
  return {
    platform: "linux",
    path: "/usr/bin:/opt/bin",
    home: "/home/you",
    environment: {},
    environments: [],
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
    "where the user has pipx put it",
    "",
    machine(["/tools/palimpsest"], { environment: { PIPX_BIN_DIR: "/tools" } }),
    "/tools/palimpsest",
  ],
  [
    "where the user has uv put it",
    "",
    machine(["/uv/palimpsest"], { environment: { UV_TOOL_BIN_DIR: "/uv" } }),
    "/uv/palimpsest",
  ],
  ["where Homebrew puts programs", "", machine(["/opt/homebrew/bin/palimpsest"]), "/opt/homebrew/bin/palimpsest"],
  [
    "in an environment of its own, after the PATH",
    "",
    machine(["/storage/server/bin/palimpsest", "/clone/.venv/bin/palimpsest"], {
      environments: ["/storage/server", "/clone/.venv"],
    }),
    "/storage/server/bin/palimpsest",
  ],
  [
    "not in an environment, if it is on the PATH",
    "",
    machine(["/storage/server/bin/palimpsest", "/opt/bin/palimpsest"], { environments: ["/storage/server"] }),
    "/opt/bin/palimpsest",
  ],
  [
    "in an environment on Windows",
    "",
    machine(["C:\\storage\\server\\Scripts\\palimpsest.exe"], {
      platform: "win32",
      path: "C:\\Windows",
      home: "C:\\you",
      environments: ["C:\\storage\\server"],
    }),
    "C:\\storage\\server\\Scripts\\palimpsest.exe",
  ],
  [
    "on Windows, in a folder of the PATH that stands in quotation marks",
    "",
    machine(["C:\\Program Files\\p\\palimpsest.exe"], {
      platform: "win32",
      path: 'C:\\Windows;"C:\\Program Files\\p"',
      home: "C:\\you",
    }),
    "C:\\Program Files\\p\\palimpsest.exe",
  ],
  [
    "on Windows, where pipx and uv put it for a user with a blank in the name",
    "",
    machine(["C:\\Users\\Ada L\\.local\\bin\\palimpsest.exe"], { platform: "win32", path: "", home: "C:\\Users\\Ada L" }),
    "C:\\Users\\Ada L\\.local\\bin\\palimpsest.exe",
  ],
  [
    "on Windows, the setting with slashes and from home",
    "~/My Code/.venv/Scripts/palimpsest.exe",
    machine(["C:\\you/My Code/.venv/Scripts/palimpsest.exe"], { platform: "win32", path: "", home: "C:\\you" }),
    "C:\\you/My Code/.venv/Scripts/palimpsest.exe",
  ],
  [
    "on Windows, no program without its ending, and none in the present folder or at the root of a drive that nobody names",
    "",
    machine(["C:\\tools\\palimpsest", "palimpsest.exe", ".\\palimpsest.exe", "C:palimpsest.exe"], {
      platform: "win32",
      path: "C:\\tools;.;C:;",
      home: "C:\\you",
    }),
    undefined,
  ],
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

const nearby: readonly [string, readonly string[], readonly string[], string | undefined][] = [
  ["what make demo made", ["/code/p"], ["/code/p/.venv/bin/palimpsest"], ".venv/bin/palimpsest"],
  ["an environment by another name", ["/code/p"], ["/code/p/venv/bin/palimpsest"], "venv/bin/palimpsest"],
  ["in the second folder", ["/code/a", "/code/p"], ["/code/p/.venv/bin/palimpsest"], ".venv/bin/palimpsest"],
  ["no folder", [], ["/code/p/.venv/bin/palimpsest"], undefined],
  ["a program that is only there", ["/code/p"], ["/code/p/palimpsest", "/code/p/bin/palimpsest"], undefined],
];

for (const [name, folders, programs, expected] of nearby) {
  test(`near the user's files: ${name}`, async () => {
    assert.equal((await findNearby(folders, machine(programs)))?.name, expected);
  });
}

test("near the user's files on Windows, on a share, too", async () => {
  const share = "\\\\server\\share\\My Code";
  const on = machine([`${share}\\.venv\\Scripts\\palimpsest.exe`], { platform: "win32", path: "", home: "C:\\you" });
  assert.equal((await findNearby(["D:\\a", share], on))?.name, ".venv\\Scripts\\palimpsest.exe");
});

test("what lies in a folder that is open is never taken without being asked for", async () => {
  assert.ok("missing" in (await findServer("", machine(["/code/p/.venv/bin/palimpsest"]))));
});

test("an extension that runs from a clone knows the clone's environment, and an installed one knows none", () => {
  assert.deepEqual(ofTheClone("/code/p/editors/vscode", "linux"), ["/code/p/.venv"]);
  assert.deepEqual(ofTheClone("C:\\p\\editors\\vscode", "win32"), ["C:\\p\\.venv"]);
  assert.deepEqual(ofTheClone("/home/you/.vscode/extensions/palimpsest.palimpsest-0.1.0", "linux"), []);
});
