-- Paints an edit that is not made yet: what goes is struck through, what comes stands beside it or below.

local api = vim.api
local M = {}

---@diagnostic disable-next-line: deprecated
local diff = vim.text and vim.text.diff or vim.diff -- Neovim 0.11 has only the second

---@alias palimpsest.Lines [integer, integer, integer, integer] First line and number of lines, old and new.

---@class palimpsest.Canvas
---@field bufnr integer
---@field namespace integer
---@field removed string Highlight groups.
---@field added string

---@param canvas palimpsest.Canvas
---@param row integer
---@param col integer
---@param mark vim.api.keyset.set_extmark
local function put(canvas, row, col, mark)
  mark.undo_restore = false
  api.nvim_buf_set_extmark(canvas.bufnr, canvas.namespace, row, col, mark)
end

---@param text string
---@param at integer A byte, from 1.
---@return boolean
local function is_continued(text, at)
  local byte = text:byte(at)
  return byte ~= nil and byte >= 0x80 and byte < 0xC0
end

---@param text string
---@param at integer
---@return boolean
local function is_word(text, at)
  return text:sub(at, at):match('[%w_\128-\255]') ~= nil
end

---Where two lines differ: bytes that are the same at the beginning of both, and at the end. Whole words, if one takes
---the place of another.
---@param old string
---@param new string
---@return integer head
---@return integer tail
function M.frame(old, new)
  local most, head, tail = math.min(#old, #new), 0, 0
  while head < most and old:byte(head + 1) == new:byte(head + 1) do
    head = head + 1
  end
  while head > 0 and (is_continued(old, head + 1) or is_continued(new, head + 1)) do
    head = head - 1
  end
  while tail < most - head and old:byte(#old - tail) == new:byte(#new - tail) do
    tail = tail + 1
  end
  while tail > 0 and is_continued(old, #old - tail + 1) do
    tail = tail - 1
  end
  if head + tail < most then
    while head > 0 and is_word(old, head) and (is_word(old, head + 1) or is_word(new, head + 1)) do
      head = head - 1
    end
    while tail > 0 and is_word(old, #old - tail + 1) and (is_word(old, #old - tail) or is_word(new, #new - tail)) do
      tail = tail - 1
    end
  end
  return head, tail
end

---@param canvas palimpsest.Canvas
---@param row integer
---@param old string
---@param new string
local function beside(canvas, row, old, new)
  local head, tail = M.frame(old, new)
  local to = #old - tail
  if head < to then
    put(canvas, row, head, { end_col = to, hl_group = canvas.removed, priority = 300 })
  end
  local text = new:sub(head + 1, #new - tail):gsub('\t', (' '):rep(vim.bo[canvas.bufnr].tabstop))
  if text ~= '' then
    put(canvas, row, to, { virt_text = { { text, canvas.added } }, virt_text_pos = 'inline' })
  end
end

---@param canvas palimpsest.Canvas
---@param row integer The first of the old lines; if there is none, the one that the new lines come before.
---@param old string[]
---@param new string[]
local function below(canvas, row, old, new)
  for number, line in ipairs(old) do
    local indent = #line:match('^%s*')
    put(canvas, row + number - 1, indent, { end_col = #line, hl_group = canvas.removed, priority = 300 })
  end
  local tab = (' '):rep(vim.bo[canvas.bufnr].tabstop)
  local lines = {} ---@type [string, string][][]
  for _, line in ipairs(new) do
    local shown = line:gsub('\t', tab)
    local indent = #shown:match('^%s*')
    lines[#lines + 1] = { { shown:sub(1, indent), 'Normal' }, { shown:sub(indent + 1), canvas.added } }
  end
  if #lines > 0 then
    local above = #old == 0 and row == 0
    put(canvas, math.max(0, row + #old - 1), 0, { virt_lines = lines, virt_lines_above = above })
  end
end

---The lines of an edit before and after it, and where they differ.
---@param bufnr integer
---@param edit palimpsest.Edit
---@return string[] old
---@return string[] new
---@return palimpsest.Lines[] hunks
local function compare(bufnr, edit)
  local old = api.nvim_buf_get_lines(bufnr, edit.first, edit.last + 1, false)
  local new = vim.split(old[1]:sub(1, edit.from) .. edit.text .. old[#old]:sub(edit.to + 1), '\n', { plain = true })
  local before, after = table.concat(old, '\n') .. '\n', table.concat(new, '\n') .. '\n'
  local hunks = diff(before, after, { result_type = 'indices', algorithm = 'histogram' }) --[[@as palimpsest.Lines[] ]]
  for _, hunk in ipairs(hunks) do
    if hunk[2] == 0 then
      hunk[1] = hunk[1] + 1 -- it names the line before
    end
  end
  return old, new, hunks
end

---Nothing but blank lines and punctuation.
---@param lines string[]
---@param from integer
---@param to integer
---@return boolean
local function is_slight(lines, from, to)
  for number = from, to do
    if lines[number]:find('[%w_\128-\255]') then
      return false
    end
  end
  return true
end

---The hunks of an edit, as edits of whole lines of which any can be made without the others. Those with nothing but blank
---lines and punctuation between them are one.
---@param bufnr integer
---@param edit palimpsest.Edit
---@return palimpsest.Edit[]
function M.hunks(bufnr, edit)
  local old, new, found = compare(bufnr, edit)
  local joined = {} ---@type { from: integer, to: integer, from_new: integer, to_new: integer }[]
  for _, hunk in ipairs(found) do
    local start, count, start_new, count_new = unpack(hunk)
    start_new = count_new == 0 and start_new + 1 or start_new -- it names the line before
    local last = joined[#joined]
    if not (last and is_slight(old, last.to + 1, start - 1)) then
      last = { from = start, to = start, from_new = start_new, to_new = start_new }
      joined[#joined + 1] = last
    end
    last.to, last.to_new = start + count - 1, start_new + count_new - 1
  end
  local lines = api.nvim_buf_line_count(bufnr)
  ---@param row integer
  ---@return integer
  local function width(row)
    return #api.nvim_buf_get_lines(bufnr, row, row + 1, true)[1]
  end
  return vim.tbl_map(function(hunk)
    local text = table.concat(new, '\n', hunk.from_new, hunk.to_new)
    local comes = hunk.to_new >= hunk.from_new
    local first, behind = edit.first + hunk.from - 1, edit.first + hunk.to -- rows, of the first line and after the last
    if comes and behind > first then
      return { first = first, from = 0, last = behind - 1, to = width(behind - 1), text = text }
    elseif behind < lines then -- a line break comes or goes with the lines
      return { first = first, from = 0, last = behind, to = 0, text = comes and text .. '\n' or '' }
    elseif first > 0 then
      local at, last = first - 1, math.max(first, behind) - 1
      return { first = at, from = width(at), last = last, to = width(last), text = comes and '\n' .. text or '' }
    end
    return { first = 0, from = 0, last = lines - 1, to = width(lines - 1), text = text }
  end, joined)
end

---Where an edit begins to make a difference, in bytes.
---@param bufnr integer
---@param edit palimpsest.Edit
---@return integer row
---@return integer col
function M.begin(bufnr, edit)
  local old, new, hunks = compare(bufnr, edit)
  local start, count, start_new, count_new = unpack(hunks[1] or { 1, 0, 1, 0 })
  if count == 0 or count_new == 0 then
    return math.min(edit.first + start - 1, edit.last), 0
  end
  return edit.first + start - 1, (M.frame(old[start], new[start_new]))
end

---@param canvas palimpsest.Canvas
---@param edit palimpsest.Edit
function M.paint(canvas, edit)
  local old, new, hunks = compare(canvas.bufnr, edit)
  for _, hunk in ipairs(hunks) do
    local start, count, start_new, count_new = unpack(hunk)
    local row = edit.first + start - 1
    if count == 1 and count_new == 1 then
      beside(canvas, row, old[start], new[start_new])
    else
      local gone = vim.list_slice(old, start, start + count - 1)
      below(canvas, row, gone, vim.list_slice(new, start_new, start_new + count_new - 1))
    end
  end
end

return M
