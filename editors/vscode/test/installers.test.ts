import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../src/find";
import { installers, shown, type Ask } from "../src/installers";

function machine(programs: readonly string[], platform: NodeJS.Platform = "linux"): Machine {
  return {
    platform,
    path: platform === "win32" ? "C:\\tools" : "/usr/bin:/opt/bin",
    home: platform === "win32" ? "C:\\you" : "/home/you",
    environment: {},
    environments: [],
    isProgram: async (path) => programs.includes(path),
  };
}

/** The Pythons among the programs that are new enough and have venv. */
function fits(...programs: readonly string[]): Ask {
  return async (program) => (programs.includes(program) ? "True\n" : "False\n");
}

const uv = "/opt/bin/uv tool install --force /code/p";
const pipx = "/home/you/.local/bin/pipx install --force /code/p";
const venv = (python: string): string =>
  `${python} -m venv --clear /own; /own/bin/python -m pip install --disable-pip-version-check /code/p`;

const cases: readonly [string, Machine, Ask, readonly string[]][] = [
  ["nothing", machine([]), fits(), []],
  ["uv", machine(["/opt/bin/uv"]), fits(), [uv]],
  ["pipx, where it puts itself", machine(["/home/you/.local/bin/pipx"]), fits(), [pipx]],
  ["a Python alone", machine(["/usr/bin/python3"]), fits("/usr/bin/python3"), [venv("/usr/bin/python3")]],
  ["a Python that is too old, or has no venv", machine(["/usr/bin/python3"]), fits(), []],
  [
    "the newest that fits",
    machine(["/usr/bin/python3", "/usr/bin/python3.11", "/opt/bin/python3.12"]),
    fits("/usr/bin/python3", "/usr/bin/python3.11", "/opt/bin/python3.12"),
    [venv("/opt/bin/python3.12")],
  ],
  [
    "all of them, the private environment last",
    machine(["/usr/bin/python3", "/opt/bin/uv", "/home/you/.local/bin/pipx"]),
    fits("/usr/bin/python3"),
    [uv, pipx, venv("/usr/bin/python3")],
  ],
];

for (const [name, on, ask, expected] of cases) {
  test(`installers: ${name}`, async () => {
    const found = await installers(on, "/own", ask);
    assert.deepEqual(found.map((each) => each.commands("/code/p").map(shown).join("; ")), expected);
  });
}

test("installers: a private environment on Windows", async () => {
  const python = "C:\\tools\\python.exe";
  const [only] = await installers(machine([python], "win32"), "C:\\own", fits(python));
  assert.deepEqual(only?.commands("C:\\p.whl").map(({ program }) => program), [python, "C:\\own\\Scripts\\python.exe"]);
});

test("installers: the launcher of Windows is asked last, and on Windows alone", async () => {
  const launcher = "C:\\Windows\\py.exe";
  const on = { ...machine([launcher, "C:\\tools\\python.exe"], "win32"), path: "C:\\Windows;C:\\tools" };
  const programs = async (...fitting: string[]): Promise<(string | undefined)[]> =>
    (await installers(on, "C:\\own", fits(...fitting))).map((each) => each.commands("C:\\p.whl")[0]?.program);
  assert.deepEqual(await programs(launcher), [launcher]);
  assert.deepEqual(await programs(launcher, "C:\\tools\\python.exe"), ["C:\\tools\\python.exe"]);
  assert.deepEqual(await installers(machine(["/usr/bin/py"]), "/own", fits("/usr/bin/py")), []);
});

test("a path with a blank is one word", () => {
  assert.equal(shown({ program: "/usr/bin/uv", args: ["/my code/p.whl"] }), '/usr/bin/uv "/my code/p.whl"');
});
