-- How Neovim starts the server; `vim.lsp.enable('palimpsest')` reads this. It works without the plugin, too.

---@type vim.lsp.Config
local config = {
  cmd = { 'palimpsest', 'serve' },
  -- What the checkpoint that comes with the server was trained on. With another one: vim.lsp.config('palimpsest', …)
  filetypes = { 'python' },
  root_markers = { 'pyproject.toml', 'setup.py', 'package.json', 'Cargo.toml', 'go.mod', '.git' },
  -- Neovim applies edits that name their version, but does not say so. Without that word there are no code actions.
  -- Notes on edits are three lines of messages for each, and wait for Enter.
  capabilities = {
    workspace = {
      workspaceEdit = {
        documentChanges = true,
        changeAnnotationSupport = vim.NIL --[[@as any]],
      },
    },
  },
  -- Nothing in Neovim waits for ghost text, so the model may take its time; the default is for editors where it does.
  init_options = { palimpsest = { answerWithinMs = 3000 } },
}

local installed, server = pcall(require, 'palimpsest.server')
return installed and vim.tbl_deep_extend('force', config, server.config()) or config
