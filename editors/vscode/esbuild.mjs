// Bundles the extension into out/, or the tests into out/test/. vscode is what the editor provides. The licences of the
// packages that were bundled go along, in one file.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as esbuild from "esbuild";

const tests = process.argv.includes("--tests");
const options = {
  entryPoints: tests
    ? readdirSync("test").map((name) => `test/${name}`)
    : { extension: "src/extension.ts", client: "src/client.ts" },
  outdir: tests ? "out/test" : "out",
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20",
  external: ["vscode", "./client.js"],
  minify: !tests,
  legalComments: "none", // NOTICES has them whole
  logLevel: "warning",
  metafile: true,
};
const NOTICES = "out/THIRD-PARTY-NOTICES.txt";

// Returns the text of a package's licence. A package without one is an error: it could not be given away.
function licence(folder) {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((each) => /^(licen[cs]e|copying)/i.test(each));
  if (file === undefined) throw new Error(`${folder} has no licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
}

// Writes the licences of all packages that are in a bundle.
function note({ metafile }) {
  const inputs = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const folders = new Set(inputs.map((each) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(each)?.[0]).filter(Boolean));
  writeFileSync(NOTICES, [...folders].sort().map(licence).join(`\n${"-".repeat(80)}\n\n`));
}

if (process.argv.includes("--watch")) {
  await (await esbuild.context(options)).watch();
} else {
  const built = await esbuild.build(options);
  if (!tests) note(built);
}
