// Bundles the page into ../static (or into the folder after --into), or the tests into out/test/. The licences of the packages
// that were bundled stand at the head of the script, because a recording carries the script with it.
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as esbuild from "esbuild";

const tests = process.argv.includes("--tests");
const at = process.argv.indexOf("--into");
const into = at < 0 ? "../static" : process.argv[at + 1];
const common = { bundle: true, legalComments: "none", logLevel: "warning", metafile: true, jsx: "automatic", jsxImportSource: "preact" };

// Returns the text of a package's licence. A package without one is an error: it could not be given away.
function licence(folder) {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((each) => /^(licen[cs]e|copying)/i.test(each));
  if (file === undefined) throw new Error(`${folder} has no licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
}

if (tests) {
  const entryPoints = readdirSync("test").map((name) => `test/${name}`);
  await esbuild.build({ ...common, entryPoints, outdir: "out/test", format: "esm", platform: "node", target: "node20" });
} else {
  const options = { ...common, minify: true, target: ["chrome109", "firefox115", "safari16"], charset: "utf8" };
  const script = `${into}/page.js`;
  const { metafile } = await esbuild.build({ ...options, entryPoints: ["src/main.tsx"], format: "iife", outfile: script });
  await esbuild.build({ ...options, entryPoints: ["src/page.css"], outfile: `${into}/page.css` });
  const folders = new Set(Object.keys(metafile.inputs).map((each) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(each)?.[0]));
  folders.delete(undefined);
  writeFileSync(script, `/*\n${[...folders].sort().map(licence).join("\n")}*/\n${readFileSync(script, "utf8")}`);
  copyFileSync("src/index.html", `${into}/index.html`);
}
