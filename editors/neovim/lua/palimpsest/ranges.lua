-- Edits of the protocol as edits of a buffer: rows and columns in bytes, and within the text that is there.

local api = vim.api
local M = {}

---@alias palimpsest.Encoding 'utf-8'|'utf-16'|'utf-32'

---@class palimpsest.Edit A text instead of a range; rows and columns in bytes, from 0.
---@field first integer
---@field from integer
---@field last integer
---@field to integer
---@field text string

---@param bufnr integer
---@param encoding palimpsest.Encoding
---@param position lsp.Position
---@return integer row
---@return integer col
local function place(bufnr, encoding, position)
  local line = api.nvim_buf_get_lines(bufnr, position.line, position.line + 1, false)[1] or ''
  return position.line, vim.str_byteindex(line, encoding, position.character, false)
end

---@param bufnr integer
---@param encoding palimpsest.Encoding
---@param range lsp.Range
---@param text string
---@return palimpsest.Edit? # nil if it would take away or add the line break that ends the file
function M.edit(bufnr, encoding, range, text)
  text = text:gsub('\r\n?', '\n')
  local first, from = place(bufnr, encoding, range.start)
  local last, to = place(bufnr, encoding, range['end'])
  local count = api.nvim_buf_line_count(bufnr)
  if last < count then
    return { first = first, from = from, last = last, to = to, text = text }
  end
  -- The end of the file is a line for the server, and none for Neovim: the break before it is not in the buffer.
  last = count - 1
  to = #api.nvim_buf_get_lines(bufnr, last, count, false)[1]
  if text:sub(-1) == '\n' then
    text = text:sub(1, -2)
    if first == count then
      first, from, text = last, to, '\n' .. text
    end
  elseif text == '' and from == 0 and first > 0 and first < count then
    first = first - 1
    from = #api.nvim_buf_get_lines(bufnr, first, first + 1, false)[1]
  elseif text == '' and first == count then
    first, from = last, to
  else
    return nil
  end
  return { first = first, from = from, last = last, to = to, text = text }
end

---The range of an edit, in units of the protocol.
---@param bufnr integer
---@param encoding palimpsest.Encoding
---@param edit palimpsest.Edit
---@return lsp.Range
function M.range(bufnr, encoding, edit)
  ---@param row integer
  ---@param col integer
  ---@return lsp.Position
  local function position(row, col)
    local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ''
    return { line = row, character = vim.str_utfindex(line, encoding, col, false) }
  end
  return { start = position(edit.first, edit.from), ['end'] = position(edit.last, edit.to) }
end

---Write it, as one step of undo, and go to its end if the buffer is the current one.
---@param bufnr integer
---@param edit palimpsest.Edit
function M.apply(bufnr, edit)
  local lines = vim.split(edit.text, '\n', { plain = true })
  vim.bo[bufnr].undolevels = vim.bo[bufnr].undolevels -- what came before is another step of undo
  api.nvim_buf_set_text(bufnr, edit.first, edit.from, edit.last, edit.to, lines)
  if api.nvim_get_current_buf() == bufnr then
    local col = (#lines == 1 and edit.from or 0) + #lines[#lines]
    api.nvim_win_set_cursor(0, { edit.first + #lines, col })
  end
  vim.bo[bufnr].undolevels = vim.bo[bufnr].undolevels
end

return M
