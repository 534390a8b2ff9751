-- Suggestions by Neovim's own inline completion (0.12 and later), with its keys, and one of its faults repaired.

local keys = require('palimpsest.keys')
local pieces = require('palimpsest.pieces')

local M = {}

---@param client vim.lsp.Client
---@param bufnr integer
function M.attach(client, bufnr)
  if require('palimpsest').options.automatic then
    vim.lsp.inline_completion.enable(true, { client_id = client.id })
  end
  for name, lhs in pairs(require('palimpsest').options.keys) do
    if lhs and name ~= 'trigger' and not keys.ELSEWHERE[name] then
      vim.keymap.set('i', lhs, function()
        return require('palimpsest')[name]() and '' or lhs
      end, { buffer = bufnr, expr = true, desc = 'Palimpsest: ' .. name:gsub('_', ' ') })
    end
  end
end

---@return boolean
function M.visible()
  local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
  return namespace ~= nil and #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { limit = 1 }) > 0
end

---@param what 'all'|'word'|'line'
---@return boolean
function M.accept(what)
  return M.visible()
    and vim.lsp.inline_completion.get({
      -- Neovim 0.12.4 inserts what was typed along the suggestion a second time. So the rest is inserted here, and
      -- nothing by Neovim; where that is mended, this does the same.
      on_accept = function(item)
        local row, col = assert(item.range):to_extmark()
        local cursor = vim.api.nvim_win_get_cursor(0)
        local typed = table.concat(vim.api.nvim_buf_get_text(0, row, col, cursor[1] - 1, cursor[2], {}), '\n')
        local left = pieces.rest(item.insert_text --[[@as string]], typed)
        if left and left ~= '' then
          require('palimpsest.inline').insert(cursor[1] - 1, cursor[2], pieces.first(left, what), 0)
        end
      end,
    })
end

---@return boolean
function M.trigger()
  require('palimpsest.server').notify("Neovim's own inline completion cannot be asked by hand")
  return false
end

---@param by integer
---@return boolean
function M.step(by)
  local visible = M.visible()
  if visible then
    vim.lsp.inline_completion.select({ count = by })
  end
  return visible
end

---@return boolean
function M.dismiss()
  local visible = M.visible()
  if visible then
    local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
    vim.api.nvim_buf_clear_namespace(0, namespace, 0, -1)
  end
  return visible
end

return M
