-- Suggestions while typing: asked for after every change, an older request cancelled; shown as ghost text, taken by
-- keys. Knows nothing of the model: when to ask it, and what is worth suggesting, is up to the server.

local ghost = require('palimpsest.ghost')
local keys = require('palimpsest.keys')
local pieces = require('palimpsest.pieces')
local server = require('palimpsest.server')

local api = vim.api
local M = {}

local METHOD = 'textDocument/inlineCompletion'
local INVOKED, AUTOMATIC = 1, 2
local CANCELLED, CONTENT_MODIFIED, SERVER_CANCELLED = -32800, -32801, -32802
local SETTLED_ENOUGH = 0.5 -- of a draft; before that it is mostly noise, and nobody asked for it

---Where the cursor was, and in what text.
---@class palimpsest.Place
---@field bufnr integer
---@field tick integer
---@field row integer
---@field col integer

---@class palimpsest.Suggestion
---@field bufnr integer
---@field row integer Where the texts begin; in bytes, from 0.
---@field col integer
---@field before string What the line was before that place.
---@field after string What it was behind the cursor.
---@field lines integer How many there were.
---@field over integer Bytes behind the cursor that it replaces.
---@field texts string[]
---@field index integer
---@field asked boolean By hand, so these are all there are; and how many is of interest.

---@class palimpsest.Draft See docs/protocol.md.
---@field uri string
---@field version integer
---@field position lsp.Position
---@field hole? integer Of commands, with its range.
---@field range? lsp.Range
---@field text string
---@field settledShare number
---@field final boolean

---@class palimpsest.Request
---@field place palimpsest.Place
---@field client vim.lsp.Client
---@field id? integer
---@field kind integer
---@field after? string Show the one that comes after this one.

---There is one cursor to suggest something at, so there is one of each.
---@type palimpsest.Suggestion?
local suggestion
---@type palimpsest.Request?
local request
---A draft on the screen. wanted: it was accepted, and will be taken if the model stays with it.
---@type { place: palimpsest.Place, text: string, wanted?: 'all'|'word'|'line' }?
local drafted
---Where the reason for nothing is shown.
---@type integer?
local noted
---The text and the place that was dealt with last.
---@type palimpsest.Place?
local seen

---@param bufnr integer
---@return palimpsest.Place
local function here(bufnr)
  local cursor = api.nvim_win_get_cursor(0)
  return { bufnr = bufnr, tick = api.nvim_buf_get_changedtick(bufnr), row = cursor[1] - 1, col = cursor[2] }
end

---@param place palimpsest.Place
---@return boolean
local function still(place)
  return api.nvim_get_mode().mode:sub(1, 1) == 'i'
    and api.nvim_get_current_buf() == place.bufnr
    and vim.deep_equal(here(place.bufnr), place)
end

local function menu_has_the_keys()
  return vim.fn.pumvisible() == 1 and vim.fn.complete_info({ 'selected' }).selected ~= -1
end

local function cancel()
  if request and request.id then
    request.client:cancel_request(request.id)
  end
  request = nil
end

local function hide()
  local bufnr = suggestion and suggestion.bufnr or drafted and drafted.place.bufnr or noted
  if bufnr then
    ghost.clear(bufnr)
  end
  suggestion, drafted, noted = nil, nil, nil
  keys.hide()
end

---What is left of the suggestion at the cursor; nil if the text has gone another way.
---@return string?
local function rest()
  local s = suggestion
  if not s or api.nvim_get_current_buf() ~= s.bufnr then
    return
  end
  local at = here(s.bufnr)
  local before = at.row >= s.row and api.nvim_buf_get_lines(s.bufnr, s.row, s.row + 1, false)[1]
  if not before or (at.row == s.row and at.col < s.col) or before:sub(1, s.col) ~= s.before then
    return
  end
  local line = api.nvim_get_current_line()
  if line:sub(at.col + 1) ~= s.after or api.nvim_buf_line_count(s.bufnr) ~= s.lines + at.row - s.row then
    return
  end
  local typed = table.concat(api.nvim_buf_get_text(s.bufnr, s.row, s.col, at.row, at.col, {}), '\n')
  return pieces.rest(s.texts[s.index], typed)
end

---@return string?
local function paint()
  local s, left = suggestion, rest()
  if not s or not left or left == '' then
    hide()
    return
  end
  local at = here(s.bufnr)
  local hint = s.asked and #s.texts > 1 and ('%d/%d'):format(s.index, #s.texts) or nil
  ghost.show(s.bufnr, at.row, at.col, left, 'PalimpsestSuggestion', hint)
  drafted = nil
  if menu_has_the_keys() then
    keys.hide()
  else
    keys.show(s.bufnr)
  end
  return left
end

---Say why there is nothing; somebody wants to know.
---@param client vim.lsp.Client
---@param place palimpsest.Place
local function tell_why(client, place)
  client:request('palimpsest/status' --[[@as any]], vim.empty_dict(), function(_, status)
    if status and status.lastEmpty and status.lastEmpty ~= vim.NIL and still(place) and not suggestion then
      ghost.note(place.bufnr, place.row, status.lastEmpty.reason)
      noted = place.bufnr
    end
  end)
end

---@param the palimpsest.Request
---@param items { insertText: string, range?: lsp.Range }[]
local function show(the, items)
  local encoding, place = the.client.offset_encoding, the.place
  local range = items[1].range
  local line = api.nvim_get_current_line()
  local from, to = place.col, place.col
  if range and range.start.line == place.row and range['end'].line == place.row then
    from = vim.str_byteindex(line, encoding, range.start.character, false)
    to = vim.str_byteindex(line, encoding, range['end'].character, false)
  end
  suggestion = {
    bufnr = place.bufnr,
    row = place.row,
    col = from,
    before = line:sub(1, from),
    after = line:sub(place.col + 1),
    over = math.max(0, to - place.col),
    lines = api.nvim_buf_line_count(place.bufnr),
    texts = vim.tbl_map(function(item)
      return (item.insertText:gsub('\r\n?', '\n'))
    end, items),
    index = 1,
    asked = the.kind == INVOKED,
  }
  local wanted = drafted and drafted.text == suggestion.texts[1] and drafted.wanted
  if the.after then
    for number, text in ipairs(suggestion.texts) do
      if text == the.after then
        suggestion.index = number % #suggestion.texts + 1
      end
    end
  end
  paint()
  if wanted then
    M.accept(wanted)
  end
end

---@param bufnr integer
---@param kind integer
---@param after? string
---@return boolean
local function ask(bufnr, kind, after)
  cancel()
  local client = server.client(bufnr)
  if not client or not (client.server_capabilities or {}).inlineCompletionProvider then
    return false
  end
  local the = { place = here(bufnr), client = client, kind = kind, after = after } ---@type palimpsest.Request
  request = the
  local sent, id = client:request(METHOD, {
    textDocument = vim.lsp.util.make_text_document_params(bufnr),
    position = vim.lsp.util.make_position_params(0, client.offset_encoding).position,
    context = { triggerKind = kind },
  }, function(err, result)
    if request ~= the then
      return
    end
    request = nil
    local items = result and (result.items or result) or {}
    if err and not vim.tbl_contains({ CANCELLED, CONTENT_MODIFIED, SERVER_CANCELLED }, err.code) then
      server.notify(err.message, vim.log.levels.WARN)
    elseif not still(the.place) then
      return
    elseif #items > 0 then
      show(the, items)
    elseif kind == INVOKED then
      hide()
      tell_why(client, the.place)
    end
  end, bufnr)
  the.id = sent and id or nil
  return sent
end

---The text is another one.
---@param bufnr integer
local function on_change(bufnr)
  local left = paint()
  seen = here(bufnr)
  if left then
    cancel()
  elseif require('palimpsest').options.automatic then
    ask(bufnr, AUTOMATIC)
  else
    cancel()
  end
end

---@param bufnr integer
function M.attach(bufnr)
  local group = api.nvim_create_augroup('palimpsest.inline.' .. bufnr, {})
  ---@param events vim.api.keyset.events[]
  ---@param callback fun(event: vim.api.keyset.create_autocmd.callback_args)
  local function on(events, callback)
    api.nvim_create_autocmd(events, { group = group, buffer = bufnr, callback = callback, desc = 'Palimpsest' })
  end
  on({ 'InsertEnter', 'TextChangedI', 'TextChangedP' }, function()
    if vim.fn.reg_executing() == '' then
      on_change(bufnr)
    end
  end)
  on({ 'CursorMovedI' }, function()
    -- Typing moves the cursor, too; TextChangedI comes after that.
    if seen and seen.bufnr == bufnr and seen.tick == api.nvim_buf_get_changedtick(bufnr) and not still(seen) then
      M.dismiss()
    end
  end)
  on({ 'CompleteChanged', 'CompleteDone' }, function()
    if suggestion then
      local selected = vim.v.event.completed_item and not vim.tbl_isempty(vim.v.event.completed_item)
      if selected then
        keys.hide()
      else
        keys.show(bufnr)
      end
    end
  end)
  on({ 'InsertLeave', 'BufLeave', 'BufUnload' }, function()
    M.dismiss()
  end)
  on({ 'LspDetach' }, function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'palimpsest' then
      M.dismiss()
      api.nvim_del_augroup_by_id(group)
    end
  end)
  keys.attach(bufnr)
  if api.nvim_get_mode().mode:sub(1, 1) == 'i' and api.nvim_get_current_buf() == bufnr then
    on_change(bufnr)
  end
end

---@param draft palimpsest.Draft
---@param client_id integer
function M.draft(draft, client_id)
  local bufnr = api.nvim_get_current_buf()
  local client = vim.lsp.get_client_by_id(client_id)
  if not client or suggestion or draft.uri ~= vim.uri_from_bufnr(bufnr) or not seen or not still(seen) then
    return
  end
  local position = vim.lsp.util.make_position_params(0, client.offset_encoding).position
  if draft.version ~= vim.lsp.util.buf_versions[bufnr] or not vim.deep_equal(position, draft.position) then
    return
  end
  if draft.final then
    if draft.text == '' then
      hide()
    elseif not request then
      ask(bufnr, AUTOMATIC)
    end
  elseif draft.text ~= '' and draft.settledShare >= SETTLED_ENOUGH then
    local wanted = drafted and drafted.text == draft.text and drafted.wanted or nil
    drafted = { place = seen, text = draft.text, wanted = wanted }
    ghost.show(bufnr, seen.row, seen.col, draft.text, 'PalimpsestDraft')
    keys.show(bufnr)
  end
end

---@return boolean
function M.visible()
  return suggestion ~= nil
end

---@param what 'all'|'word'|'line'
---@return boolean
function M.accept(what)
  local s, left = suggestion, rest()
  if not s and drafted then
    drafted.wanted = what
    return true
  elseif not s or not left or left == '' then
    return false
  end
  local at = here(s.bufnr)
  M.insert(at.row, at.col, pieces.first(left, what), what == 'all' and s.over or 0)
  if what == 'all' then
    cancel()
    hide()
  end
  return true
end

---Insert a text at the cursor, to be undone by itself, and go to its end.
---@param row integer
---@param col integer
---@param text string
---@param over integer
function M.insert(row, col, text, over)
  local lines = vim.split(text, '\n', { plain = true })
  vim.bo.undolevels = vim.bo.undolevels -- what was typed is another step of undo
  api.nvim_buf_set_text(0, row, col, row, col + over, lines)
  api.nvim_win_set_cursor(0, { row + #lines, (#lines == 1 and col or 0) + #lines[#lines] })
  vim.bo.undolevels = vim.bo.undolevels
end

---@param by integer
---@return boolean
function M.step(by)
  local s, left = suggestion, rest()
  if not s or not left then
    return false
  end
  if #s.texts == 1 and not s.asked then
    return ask(s.bufnr, INVOKED, left)
  end
  for _ = 1, #s.texts do -- to the next one that goes along with what was typed
    s.index = (s.index - 1 + by) % #s.texts + 1
    if rest() then
      break
    end
  end
  paint()
  return true
end

---@return boolean
function M.dismiss()
  local was = suggestion ~= nil or drafted ~= nil
  cancel()
  hide()
  seen = nil -- drafts that come still are of no use
  return was
end

---@return boolean
function M.trigger()
  local bufnr = api.nvim_get_current_buf()
  if api.nvim_get_mode().mode:sub(1, 1) ~= 'i' then
    return false
  end
  seen = here(bufnr)
  if not ask(bufnr, INVOKED) then
    server.notify(
      server.client(bufnr) and 'the server offers no inline completion here' or 'no server is attached to this buffer'
    )
    return false
  end
  return true
end

return M
