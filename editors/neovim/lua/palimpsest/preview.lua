-- What a command wrote, shown in its place before it is there: the old text struck through, the new one beside it or below.
-- A key decides. Knows nothing of what was asked for.

local difference = require('palimpsest.difference')
local keys = require('palimpsest.keys')

local api = vim.api
local M = {}

local namespace = api.nvim_create_namespace('palimpsest.preview')

---What waits to be decided, by buffer.
---@type table<integer, fun(accepted: boolean)>
local waiting = {}

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
  local canvas = { bufnr = bufnr, namespace = namespace, removed = 'PalimpsestRemoved', added = 'PalimpsestAdded' }
  for _, edit in ipairs(edits) do
    difference.paint(canvas, edit)
  end
  local mark = { virt_text = { { ' ' .. hint(), 'PalimpsestHint' } }, virt_text_pos = 'eol', undo_restore = false }
  api.nvim_buf_set_extmark(bufnr, namespace, edits[1].first, 0, mark)
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
