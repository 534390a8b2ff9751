-- Next edit: after a change, the place that has to change with it. One is offered at a time: a key goes there, and the
-- same key makes the edit. Which place, and whether any, is up to the server.

local offer = require('palimpsest.offer')
local server = require('palimpsest.server')

local api = vim.api
local M = {}

local METHOD = 'textDocument/copilotInlineEdit' ---@type any Not of the protocol.
local INVOKED, AUTOMATIC = 1, 2
local CANCELLED, CONTENT_MODIFIED, SERVER_CANCELLED, UNKNOWN = -32800, -32801, -32802, -32601
local MOST_DIAGNOSTICS = 100
local TYPING_MS, CHANGED_MS = 150, 20 -- how long nothing may change before somebody is asked

---@class palimpsest.NextEdit See docs/protocol.md.
---@field text string
---@field range lsp.Range
---@field textDocument { uri: string, version: integer }
---@field command lsp.Command
---@field palimpsest { id: string, reason: string }

---@class palimpsest.Answer
---@field edits palimpsest.NextEdit[]

---The one request of a buffer that is out.
---@type table<integer, { client: vim.lsp.Client, id?: integer }>
local requests = {}
---The change of a buffer that somebody is to be asked about when nothing has followed it for a while.
---@type table<integer, table>
local changes = {}
---The text of a buffer that was asked about last.
---@type table<integer, integer>
local asked = {}

---@param bufnr integer
local function cancel(bufnr)
  local request = requests[bufnr]
  requests[bufnr], changes[bufnr] = nil, nil
  if request and request.id then
    request.client:cancel_request(request.id)
  end
end

---@param client vim.lsp.Client
local function tell_why(client)
  client:request('palimpsest/status' --[[@as any]], vim.empty_dict(), function(_, status)
    local empty = status and status.lastEmpty and status.lastEmpty ~= vim.NIL and status.lastEmpty.reason
    server.notify('no next edit' .. (empty and ': ' .. empty or ''))
  end)
end

---What is wrong in a buffer, as far as it is about the text that is there: no server hears of it from another one.
---@param bufnr integer
---@param encoding palimpsest.Encoding
---@return table[]
local function diagnostics(bufnr, encoding)
  local found = {}
  local last = api.nvim_buf_line_count(bufnr) - 1
  local worst = { min = vim.diagnostic.severity.WARN } ---@type vim.diagnostic.SeverityFilter
  ---@param row integer
  ---@param col integer
  ---@return lsp.Position
  local function position(row, col)
    local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ''
    return { line = row, character = vim.str_utfindex(line, encoding, math.min(col, #line), false) }
  end
  for _, each in ipairs(vim.diagnostic.get(bufnr, { severity = worst })) do
    local row, col = each.end_lnum or each.lnum, each.end_col or each.col
    if #found < MOST_DIAGNOSTICS and each.lnum <= last and row <= last then
      found[#found + 1] = {
        range = { start = position(each.lnum, each.col), ['end'] = position(row, col) },
        severity = each.severity,
        message = each.message,
      }
    end
  end
  return found
end

---@param bufnr integer
---@param kind integer
---@param after? fun() Called when there is an answer, or none will come.
---@return boolean # somebody was asked
local function ask(bufnr, kind, after)
  cancel(bufnr)
  local client = server.client(bufnr)
  if not client or api.nvim_get_current_buf() ~= bufnr then
    return false
  end
  local tick = api.nvim_buf_get_changedtick(bufnr)
  local this = { client = client } ---@type { client: vim.lsp.Client, id?: integer }
  requests[bufnr], asked[bufnr] = this, tick
  local sent, id = client:request(METHOD, {
    textDocument = { uri = vim.uri_from_bufnr(bufnr), version = vim.lsp.util.buf_versions[bufnr] },
    position = vim.lsp.util.make_position_params(0, client.offset_encoding).position,
    context = { triggerKind = kind },
    diagnostics = diagnostics(bufnr, client.offset_encoding),
  }, function(err, result)
    after = after or function() end
    if requests[bufnr] ~= this then
      return after()
    end
    requests[bufnr] = nil
    local stale = not api.nvim_buf_is_loaded(bufnr) or api.nvim_buf_get_changedtick(bufnr) ~= tick
    if err then
      if not vim.tbl_contains({ CANCELLED, CONTENT_MODIFIED, SERVER_CANCELLED, UNKNOWN }, err.code) then
        server.notify(err.message, vim.log.levels.WARN)
      end
    elseif not stale and api.nvim_get_current_buf() == bufnr then
      ---@cast result palimpsest.Answer?
      local edit = result and result.edits and result.edits[1]
      local shown = edit and offer.show(client, bufnr, edit)
      if not shown and kind == INVOKED then
        tell_why(client)
      end
    end
    after()
  end, bufnr)
  this.id = sent and id or nil
  return sent
end

---Ask when nothing has changed for a while.
---@param bufnr integer
---@param ms integer
local function ask_soon(bufnr, ms)
  cancel(bufnr)
  if not require('palimpsest').options.next_edit or vim.fn.reg_executing() ~= '' then
    return
  end
  local change = {}
  changes[bufnr] = change
  vim.defer_fn(function()
    if changes[bufnr] == change and api.nvim_buf_is_loaded(bufnr) then
      changes[bufnr] = nil
      if asked[bufnr] ~= api.nvim_buf_get_changedtick(bufnr) then
        ask(bufnr, AUTOMATIC)
      end
    end
  end, ms)
end

---@param bufnr integer
local function on_change(bufnr)
  if asked[bufnr] == api.nvim_buf_get_changedtick(bufnr) then
    return -- an edit of ours
  end
  offer.settle()
  if offer.is_stale() then
    offer.close('typedOver')
  end
  ask_soon(bufnr, api.nvim_get_mode().mode:sub(1, 1) == 'i' and TYPING_MS or CHANGED_MS)
end

---@param bufnr integer
local function on_focus(bufnr)
  local client = server.client(bufnr)
  if client and require('palimpsest').options.next_edit then
    client:notify('textDocument/didFocus' --[[@as any]], { textDocument = { uri = vim.uri_from_bufnr(bufnr) } })
  end
end

---@param bufnr integer
function M.attach(bufnr)
  asked[bufnr] = api.nvim_buf_get_changedtick(bufnr)
  local group = api.nvim_create_augroup('palimpsest.next_edit.' .. bufnr, {})
  ---@param events vim.api.keyset.events[]
  ---@param callback fun(event: vim.api.keyset.create_autocmd.callback_args)
  local function on(events, callback)
    api.nvim_create_autocmd(events, { group = group, buffer = bufnr, callback = callback, desc = 'Palimpsest' })
  end
  on({ 'TextChanged', 'TextChangedI', 'TextChangedP' }, function()
    on_change(bufnr)
  end)
  on({ 'InsertLeave' }, function()
    offer.repaint()
    if asked[bufnr] ~= api.nvim_buf_get_changedtick(bufnr) then
      ask_soon(bufnr, CHANGED_MS)
    elseif not requests[bufnr] and not offer.visible() then
      asked[bufnr] = nil -- in the middle of typing nothing was due; it may be now
      ask_soon(bufnr, CHANGED_MS)
    end
  end)
  on({ 'CursorMoved', 'CursorMovedI', 'InsertEnter' }, offer.repaint)
  on({ 'BufEnter' }, function()
    on_focus(bufnr)
  end)
  on({ 'BufLeave', 'BufUnload' }, function()
    cancel(bufnr)
    offer.leave(bufnr)
  end)
  on({ 'LspDetach' }, function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'palimpsest' then
      cancel(bufnr)
      offer.drop()
      api.nvim_del_augroup_by_id(group)
    end
  end)
  if api.nvim_get_current_buf() == bufnr then
    on_focus(bufnr)
  end
end

---Go to the edit that is offered; make it, if the cursor is there.
---@return boolean # one was offered
function M.go()
  local bufnr = api.nvim_get_current_buf()
  local function settle()
    if offer.settle() then
      M.go()
    end
  end
  if offer.visible() then
    return offer.go(function(client, command)
      asked[bufnr] = api.nvim_buf_get_changedtick(bufnr)
      local tick = asked[bufnr]
      client:request('workspace/executeCommand', {
        command = command.command,
        arguments = command.arguments,
      }, function()
        local same = api.nvim_buf_is_loaded(bufnr) and api.nvim_buf_get_changedtick(bufnr) == tick
        if not same or not ask(bufnr, AUTOMATIC, settle) then
          settle()
        end
      end, bufnr)
    end)
  end
  return offer.want()
end

---Ask for a next edit by hand; if there is none, the reason is told.
---@return boolean # somebody was asked
function M.ask()
  return ask(api.nvim_get_current_buf(), INVOKED)
end

return M
