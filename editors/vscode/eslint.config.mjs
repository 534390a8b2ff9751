// The rules of `npm run lint`: those of typescript-eslint that know the types, for src/ and test/.
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["out/", "*.mjs"] },
  tseslint.configs.recommendedTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  { languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } } },
  {
    rules: {
      "@typescript-eslint/unbound-method": "off", // the functions of path need no `this`
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { properties: false } }], // VS Code calls, and waits for nothing
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: { string: true } }], // "" is nothing, too
    },
  },
  {
    files: ["test/**"],
    rules: {
      // node:test waits for what test() returns; the fakes are async because what they stand for is.
      "@typescript-eslint/no-floating-promises": "off",
      "@typescript-eslint/require-await": "off",
    },
  },
);
