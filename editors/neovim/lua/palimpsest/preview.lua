-- What a command wrote, shown in its place before it is there: the old text struck through, the new one beside it or below.
-- A key decides. Knows nothing of what was asked for.

local keys = require('palimpsest.keys')

local api = vim.api
local M = {}

local namespace = api.nvim_create_namespace('palimpsest.preview')

---@class palimpsest.Edit A text instead of a range; rows and columns in bytes, from 0.
---@field first integer
---@field from integer
---@field last integer
---@field to integer
---@field text string

---What waits to be decided, by buffer.
---@type table<integer, fun(accepted: boolean)>
local waiting = {}

---@param bufnr integer
---@param row integer
---@param col integer
---@param mark vim.api.keyset.set_extmark
local function put(bufnr, row, col, mark)
  mark.undo_restore = false
  api.nvim_buf_set_extmark(bufnr, namespace, row, col, mark)
end

---@param bufnr integer
---@param edit palimpsest.Edit
local function paint(bufnr, edit)
  local tab = (' '):rep(vim.bo[bufnr].tabstop)
  local old = api.nvim_buf_get_lines(bufnr, edit.first, edit.last + 1, false)
  if #old == 1 and not edit.text:find('\n') then
    put(bufnr, edit.first, edit.from, { end_col = edit.to, hl_group = 'PalimpsestRemoved', priority = 300 })
    local text = edit.text:gsub('\t', tab)
    put(bufnr, edit.first, edit.to, { virt_text = { { text, 'PalimpsestAdded' } }, virt_text_pos = 'inline' })
    return
  end
  local new = old[1]:sub(1, edit.from) .. edit.text .. old[#old]:sub(edit.to + 1)
  for number, line in ipairs(old) do
    local row, indent = edit.first + number - 1, #line:match('^%s*')
    put(bufnr, row, indent, { end_col = #line, hl_group = 'PalimpsestRemoved', priority = 300 })
  end
  local lines = {} ---@type [string, string][][]
  for line in vim.gsplit(new, '\n', { plain = true }) do
    lines[#lines + 1] = { { (line:gsub('\t', tab)), 'PalimpsestAdded' } }
  end
  put(bufnr, edit.last, 0, { virt_lines = lines })
end

---What the keys are, in words.
local function hint()
  local bound = require('palimpsest').options.keys
  local accept = bound.accept or ':Palimpsest accept'
  return ('%s accepts, <Esc> rejects'):format(accept)
end

---Show edits, and wait for the user; in a coroutine. False if the text changes, or somebody decides so.
---@param bufnr integer
---@param edits palimpsest.Edit[]
---@return boolean
function M.ask(bufnr, edits)
  M.decide(bufnr, false)
  for _, edit in ipairs(edits) do
    paint(bufnr, edit)
  end
  put(bufnr, edits[1].first, 0, { virt_text = { { ' ' .. hint(), 'PalimpsestHint' } }, virt_text_pos = 'eol' })
  local thread = coroutine.running()
  local group = api.nvim_create_augroup('palimpsest.preview.' .. bufnr, {})
  local unbind = {} ---@type fun()[]
  local function bind(modes, lhs, accepted)
    for _, mode in ipairs(lhs and modes or {}) do
      unbind[#unbind + 1] = keys.bind(bufnr, mode, lhs, function()
        M.decide(bufnr, accepted)
      end, accepted and 'accept' or 'reject')
    end
  end
  local bound = require('palimpsest').options.keys
  bind({ 'n', 'i' }, bound.accept, true)
  bind({ 'n', 'i' }, bound.dismiss, false)
  bind({ 'n' }, '<Esc>', false)
  waiting[bufnr] = function(accepted)
    waiting[bufnr] = nil
    api.nvim_del_augroup_by_id(group)
    for _, each in ipairs(unbind) do
      each()
    end
    if api.nvim_buf_is_valid(bufnr) then
      api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
    end
    coroutine.resume(thread, accepted)
  end
  api.nvim_create_autocmd({ 'TextChanged', 'TextChangedI', 'TextChangedP', 'BufUnload' }, {
    group = group,
    buffer = bufnr,
    desc = 'Palimpsest: the preview is about another text',
    callback = function()
      M.decide(bufnr, false)
    end,
  })
  return coroutine.yield()
end

---Accept what is shown, or reject it.
---@param bufnr integer
---@param accepted boolean
---@return boolean # something was shown
function M.decide(bufnr, accepted)
  local decide = waiting[bufnr]
  if decide then
    decide(accepted)
  end
  return decide ~= nil
end

function M.reject_all()
  for _, bufnr in ipairs(vim.tbl_keys(waiting)) do
    M.decide(bufnr, false)
  end
end

return M
