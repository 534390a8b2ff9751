---@brief
---
--- Palimpsest writes what is missing in code with a diffusion model on your own machine: inline completion that
--- knows what comes after the cursor, and code actions that fill, rewrite and repair.
---
--- The server is a Python program:
--- ```sh
--- uv tool install palimpsest-ls
--- ```
---
--- Neovim 0.12 shows the suggestions with `vim.lsp.inline_completion.enable()`. The model that comes with the server
--- knows only Python; with another one, name more filetypes.

---@type vim.lsp.Config
return {
  cmd = { 'palimpsest', 'serve' },
  filetypes = { 'python' },
  root_markers = { 'pyproject.toml', 'setup.py', 'package.json', 'Cargo.toml', 'go.mod', '.git' },
  -- Neovim applies edits that name their version, but does not say so. Without that there are no code actions.
  -- Notes on edits are three lines of messages for each, and wait for Enter.
  capabilities = { workspace = { workspaceEdit = { documentChanges = true, changeAnnotationSupport = vim.NIL } } },
  -- Nothing in Neovim waits for the suggestion, so the model may take its time.
  init_options = { palimpsest = { answerWithinMs = 3000 } },
}
