-- Ghost text on the screen. Knows nothing of suggestions or the server.

local api = vim.api
local M = {}

local namespace = api.nvim_create_namespace('palimpsest.ghost')

---Show a text at a place (row and column in bytes, from 0) instead of what was shown before.
---@param bufnr integer
---@param row integer
---@param col integer
---@param text string
---@param group string Its colour.
---@param hint? string Something behind it, such as "2/3".
function M.show(bufnr, row, col, text, group, hint)
  M.clear(bufnr)
  local tab = (' '):rep(vim.bo[bufnr].tabstop)
  local lines = {} ---@type [string, string][][]
  for line in vim.gsplit(text, '\n', { plain = true }) do
    lines[#lines + 1] = { { (line:gsub('\t', tab)), group } }
  end
  if hint then
    table.insert(lines[#lines], { '  ' .. hint, 'PalimpsestHint' })
  end
  api.nvim_buf_set_extmark(bufnr, namespace, row, col, {
    virt_text = lines[1],
    virt_text_pos = 'inline',
    virt_lines = #lines > 1 and vim.list_slice(lines, 2) or nil,
    hl_mode = 'combine',
    undo_restore = false,
  })
end

---Say something at the end of a line.
---@param bufnr integer
---@param row integer
---@param text string
function M.note(bufnr, row, text)
  M.clear(bufnr)
  api.nvim_buf_set_extmark(
    bufnr,
    namespace,
    row,
    0,
    { virt_text = { { text, 'PalimpsestHint' } }, undo_restore = false }
  )
end

---@param bufnr integer
function M.clear(bufnr)
  if api.nvim_buf_is_valid(bufnr) then
    api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

return M
