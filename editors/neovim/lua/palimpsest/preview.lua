-- What a command wrote, shown in its place before it is there: the old text struck through, the new one beside it or below.
-- A key decides. Knows nothing of what was asked for.

local difference = require('palimpsest.difference')
local keys = require('palimpsest.keys')

local api = vim.api
local M = {}

local namespace = api.nvim_create_namespace('palimpsest.preview')

---@class palimpsest.Hunk
---@field edit palimpsest.Edit
---@field verdict 'open'|'accepted'|'rejected'

---@class palimpsest.Waiting
---@field bufnr integer
---@field edits palimpsest.Edit[] All that was written.
---@field hunks palimpsest.Hunk[] None, if there is one place only, which is decided as a whole.
---@field decide fun(edits?: palimpsest.Edit[])

---What waits to be decided, by buffer.
---@type table<integer, palimpsest.Waiting>
local waiting = {}

---@param this palimpsest.Waiting
---@param ... 'open'|'accepted'|'rejected'
---@return palimpsest.Edit[]? # `edits` itself, if nothing is left out; nil if nothing is left
local function without(this, ...)
  local out, left = { ... }, {}
  for _, hunk in ipairs(this.hunks) do
    if not vim.list_contains(out, hunk.verdict) then
      left[#left + 1] = hunk.edit
    end
  end
  if #left == #this.hunks then
    return this.edits
  end
  return #left > 0 and left or nil
end

---What the keys are, in words.
---@param this palimpsest.Waiting
---@return string
local function hint(this)
  local bound = require('palimpsest').options.keys
  local all = #this.hunks > 0 and ' all' or ''
  return ('%s accepts%s, <Esc> rejects%s'):format(bound.accept or ':Palimpsest accept', all, all)
end

---@param hunk palimpsest.Hunk
---@return string
local function hint_of(hunk)
  if hunk.verdict ~= 'open' then
    return hunk.verdict
  end
  local bound = require('palimpsest').options.keys
  local accept = bound.accept_hunk or ':Palimpsest accept hunk'
  return ('%s accepts, %s rejects this'):format(accept, bound.reject_hunk or ':Palimpsest reject hunk')
end

---@param this palimpsest.Waiting
local function paint(this)
  local bufnr = this.bufnr
  local canvas = { bufnr = bufnr, namespace = namespace, removed = 'PalimpsestRemoved', added = 'PalimpsestAdded' }
  api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  for _, edit in ipairs(without(this, 'rejected') or {}) do
    difference.paint(canvas, edit)
  end
  ---@param row integer
  ---@param text string
  local function say(row, text)
    local mark = { virt_text = { { ' ' .. text, 'PalimpsestHint' } }, virt_text_pos = 'eol', undo_restore = false }
    api.nvim_buf_set_extmark(bufnr, namespace, row, 0, mark)
  end
  if #this.hunks == 0 then
    say(this.edits[1].first, hint(this))
  end
  for number, hunk in ipairs(this.hunks) do
    local row = difference.begin(bufnr, hunk.edit)
    local which = ('%d/%d: %s'):format(number, #this.hunks, hint_of(hunk))
    say(row, number == 1 and ('%s; %s'):format(which, hint(this)) or which)
  end
end

---Show edits, and wait for the user; in a coroutine.
---@async
---@param bufnr integer
---@param edits palimpsest.Edit[]
---@return palimpsest.Edit[]? # those to make, `edits` itself for all; nil if the text changes, or somebody decides so
function M.ask(bufnr, edits)
  M.decide(bufnr, false)
  local hunks = {} ---@type palimpsest.Hunk[]
  for _, edit in ipairs(edits) do
    for _, each in ipairs(difference.hunks(bufnr, edit)) do
      hunks[#hunks + 1] = { edit = each, verdict = 'open' }
    end
  end
  ---@diagnostic disable-next-line: missing-fields
  local this = { bufnr = bufnr, edits = edits, hunks = #hunks > 1 and hunks or {} } ---@type palimpsest.Waiting
  paint(this)
  local thread = assert(coroutine.running())
  local group = api.nvim_create_augroup('palimpsest.preview.' .. bufnr, {})
  local unbind = {} ---@type fun()[]
  ---@param modes string[]
  ---@param lhs string|false|nil
  ---@param what string
  ---@param run fun()
  local function bind(modes, lhs, what, run)
    for _, mode in ipairs(lhs and modes or {}) do
      unbind[#unbind + 1] = keys.bind(bufnr, mode, lhs --[[@as string]], run, what)
    end
  end
  local bound = require('palimpsest').options.keys
  ---@param accepted boolean
  ---@return fun()
  local function decide(accepted)
    return function()
      M.decide(bufnr, accepted)
    end
  end
  bind({ 'n', 'i' }, bound.accept, 'accept', decide(true))
  bind({ 'n', 'i' }, bound.dismiss, 'reject', decide(false))
  bind({ 'n' }, '<Esc>', 'reject', decide(false))
  if #this.hunks > 0 then
    local both, normal = { 'n', 'i' }, { 'n' }
    -- stylua: ignore
    for _, each in ipairs({
      { both, bound.accept_hunk, 'accept this change', M.judge, 'accepted' },
      { both, bound.reject_hunk, 'reject this change', M.judge, 'rejected' },
      { normal, bound.next_hunk, 'next change', M.go, 1 },
      { normal, bound.previous_hunk, 'previous change', M.go, -1 },
    }) do
      local modes, lhs, what, run, argument = unpack(each)
      bind(modes, lhs, what, function()
        run(bufnr, argument)
      end)
    end
  end
  function this.decide(wanted)
    waiting[bufnr] = nil
    api.nvim_del_augroup_by_id(group)
    for _, each in ipairs(unbind) do
      each()
    end
    if api.nvim_buf_is_valid(bufnr) then
      api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
    end
    coroutine.resume(thread, wanted)
  end
  waiting[bufnr] = this
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

---Accept what is shown, but for what was rejected; or reject all of it, whatever was accepted.
---@param bufnr integer
---@param accepted boolean
---@return boolean # something was shown
function M.decide(bufnr, accepted)
  local this = waiting[bufnr]
  if this then
    this.decide(accepted and without(this, 'rejected') or nil)
  end
  return this ~= nil
end

---Make what was accepted one by one, and nothing else.
---@param bufnr integer
---@return boolean # something was shown
function M.keep(bufnr)
  local this = waiting[bufnr]
  if this then
    this.decide(without(this, 'rejected', 'open'))
  end
  return this ~= nil
end

---@param hunk palimpsest.Hunk
local function go(hunk)
  local row, col = difference.begin(api.nvim_get_current_buf(), hunk.edit)
  vim.cmd("normal! m'")
  api.nvim_win_set_cursor(0, { row + 1, col })
end

---Decide about the place at the cursor, or the nearest one that is not decided; go to the next. After the last one they
---are made.
---@param bufnr integer The current buffer.
---@param verdict 'accepted'|'rejected'
---@return boolean # there was one
function M.judge(bufnr, verdict)
  local this = waiting[bufnr]
  local row = api.nvim_win_get_cursor(0)[1] - 1
  ---@param from integer
  ---@return palimpsest.Hunk?
  local function nearest(from)
    local best, away
    for _, hunk in ipairs(this and this.hunks or {}) do
      local distance = math.max(hunk.edit.first - from, from - hunk.edit.last, 0)
      if hunk.verdict == 'open' and (not away or distance < away) then
        best, away = hunk, distance
      end
    end
    return best ---@type palimpsest.Hunk?
  end
  local hunk = nearest(row)
  if not hunk then
    return false
  end
  hunk.verdict = verdict
  local left = nearest(hunk.edit.first)
  if left then
    paint(this)
    go(left)
  else
    M.keep(bufnr)
  end
  return true
end

---Go to the next place after the cursor or before it, from the last one on to the first.
---@param bufnr integer The current buffer.
---@param step 1|-1
---@return boolean # there was one
function M.go(bufnr, step)
  local row = api.nvim_win_get_cursor(0)[1] - 1
  local rows = {} ---@type table<palimpsest.Hunk, integer>
  local shown = vim.tbl_filter(function(hunk)
    rows[hunk] = difference.begin(bufnr, hunk.edit)
    return hunk.verdict ~= 'rejected'
  end, waiting[bufnr] and waiting[bufnr].hunks or {})
  local first, last = step > 0 and 1 or #shown, step > 0 and #shown or 1
  for number = first, last, step do
    if (rows[shown[number]] - row) * step > 0 then
      go(shown[number])
      return true
    end
  end
  if shown[first] then
    go(shown[first])
  end
  return shown[first] ~= nil
end

function M.reject_all()
  for _, bufnr in ipairs(vim.tbl_keys(waiting)) do
    M.decide(bufnr, false)
  end
end

return M
