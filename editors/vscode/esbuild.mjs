// Bundles the extension into out/, or the tests into out/test/. vscode is what the editor provides.
import { readdirSync } from "node:fs";
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
  legalComments: "none",
  logLevel: "warning",
};

if (process.argv.includes("--watch")) {
  await (await esbuild.context(options)).watch();
} else {
  await esbuild.build(options);
}
