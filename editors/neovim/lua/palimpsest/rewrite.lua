-- Code actions by name, with what they are about to write shown in place.

local ranges = require('palimpsest.ranges')
local server = require('palimpsest.server')

local api = vim.api
local M = {}

local namespace = api.nvim_create_namespace('palimpsest.rewrite')

M.ACTIONS = {
  'fill',
  'complete',
  'touchUp',
  'rework',
  'rewrite',
  'repair',
  'fillHoles',
  'earlier',
  'later',
  'explain',
  'test',
}

---What the server writes by itself later on, or what was chosen by its text, needs no second look.
local SEEN = 'Palimpsest: alternative'
---Nor does what was there before.
local AT_ONCE = { earlier = true, later = true }

---What goes to the model of what other tools say, at most.
local MOST_DIAGNOSTICS = 20

---What runs, by buffer.
---@type table<integer, { client: vim.lsp.Client, id: integer, action: string }>
local running = {}
---Marks of each hole that is shown, by buffer and hole.
---@type table<integer, table<integer, integer[]>>
local painted = {}

---@param bufnr integer
---@param hole? integer That one only.
local function clear(bufnr, hole)
  local holes = painted[bufnr] or {}
  for number, marks in pairs(holes) do
    if hole == nil or hole == number then
      for _, mark in ipairs(marks) do
        pcall(api.nvim_buf_del_extmark, bufnr, namespace, mark)
      end
      holes[number] = nil
    end
  end
  if not next(holes) then
    painted[bufnr] = nil
  end
end

function M.clear_all()
  for _, bufnr in ipairs(vim.tbl_keys(painted)) do
    clear(bufnr)
  end
end

---@param text string
---@return integer
local function width(text)
  return vim.fn.strdisplaywidth(text)
end

---Paint a text over a range, line by line; lines that are too many go below, those that are too few are blank.
---@param bufnr integer
---@param range { [1]: integer, [2]: integer, [3]: integer, [4]: integer } Rows and columns in bytes, from 0.
---@param text string
---@return integer[] marks
local function paint(bufnr, range, text)
  local first, from, last, to = unpack(range)
  local old = api.nvim_buf_get_lines(bufnr, first, last + 1, false)
  local behind = old[#old]:sub(to + 1)
  local tab = (' '):rep(vim.bo[bufnr].tabstop)
  local new = vim.split((text:gsub('\t', tab)), '\n', { plain = true })
  local marks, below = {}, {}
  for number = 1, math.max(#old, #new) do
    local chunks = { { new[number] or '', 'PalimpsestDraft' } } ---@type [string, string][]
    if number == #new and behind ~= '' then
      chunks[2] = { behind, 'Normal' }
    end
    if number > #old then
      below[#below + 1] = chunks
    else
      local col = number == 1 and from or 0
      local covered = width(old[number]) - width(old[number]:sub(1, col))
      local wide = width(chunks[1][1]) + (chunks[2] and width(chunks[2][1]) or 0)
      chunks[#chunks + 1] = { (' '):rep(covered - wide), 'Normal' }
      marks[#marks + 1] = api.nvim_buf_set_extmark(bufnr, namespace, first + number - 1, col, {
        virt_text = chunks,
        virt_text_pos = 'overlay',
        undo_restore = false,
      })
    end
  end
  if #below > 0 then
    marks[#marks + 1] =
      api.nvim_buf_set_extmark(bufnr, namespace, last, 0, { virt_lines = below, undo_restore = false })
  end
  return marks
end

---A position of the protocol, in bytes.
---@param bufnr integer
---@param client vim.lsp.Client
---@param position lsp.Position
---@return integer
local function byte(bufnr, client, position)
  local line = api.nvim_buf_get_lines(bufnr, position.line, position.line + 1, false)[1] or ''
  return vim.str_byteindex(line, client.offset_encoding, position.character, false)
end

---What to write of what the server wants to write; in a coroutine, for the user may be asked.
---@async
---@param params lsp.ApplyWorkspaceEditParams
---@param client? vim.lsp.Client
---@return lsp.ApplyWorkspaceEditParams? # nil for nothing
function M.allowed(params, client)
  M.clear_all() -- before the text below the paint changes
  local changes = params.edit.documentChanges or {} --[[@as lsp.TextDocumentEdit[] ]]
  local document = #changes == 1 and changes[1].textDocument
  local bufnr = document and vim.uri_to_bufnr(document.uri) or -1
  local shown = bufnr ~= -1 and vim.fn.bufwinid(bufnr) ~= -1 and #changes[1].edits > 0
  local seen = params.label == SEEN or AT_ONCE[(running[bufnr] or {}).action]
  if not client or not shown or seen or not require('palimpsest').options.preview then
    return params
  end
  local edits = {} ---@type palimpsest.Edit[]
  local written = changes[1].edits --[[@as lsp.TextEdit[] ]]
  for _, edit in ipairs(written) do
    edits[#edits + 1] = ranges.edit(bufnr, client.offset_encoding, edit.range, edit.newText)
  end
  if #edits == 0 then
    return params
  end
  local wanted = require('palimpsest.preview').ask(bufnr, edits)
  if not wanted or wanted == edits then
    return wanted and params
  end
  -- Of a part of it the server learns by the change of the document.
  local part = vim.deepcopy(params)
  local copies = part.edit.documentChanges --[[@as lsp.TextDocumentEdit[] ]]
  copies[1].edits = vim.tbl_map(function(edit)
    return { range = ranges.range(bufnr, client.offset_encoding, edit), newText = edit.text }
  end, wanted)
  return part
end

---@param draft palimpsest.Draft
---@param client_id integer
function M.draft(draft, client_id)
  local bufnr = vim.fn.bufnr(vim.uri_to_fname(draft.uri))
  local client = vim.lsp.get_client_by_id(client_id)
  if bufnr == -1 or not api.nvim_buf_is_loaded(bufnr) or not client then
    return
  end
  clear(bufnr, draft.hole)
  if draft.text == '' or not draft.range or draft.version ~= vim.lsp.util.buf_versions[bufnr] or not running[bufnr] then
    return
  end
  local from, to = draft.range.start, draft.range['end']
  local range = { from.line, byte(bufnr, client, from), to.line, byte(bufnr, client, to) }
  painted[bufnr] = painted[bufnr] or {}
  painted[bufnr][draft.hole] = paint(bufnr, range, draft.text)
end

---The selection that a command was given, or the cursor.
---@param command? vim.api.keyset.create_user_command.command_args
---@param client vim.lsp.Client
---@return lsp.Range
local function range_of(command, client)
  if not command or command.range == 0 then
    local position = vim.lsp.util.make_position_params(0, client.offset_encoding).position
    return { start = position, ['end'] = position }
  end
  local from, to = { command.line1, 0 }, { command.line2, vim.v.maxcol }
  local marks = { api.nvim_buf_get_mark(0, '<'), api.nvim_buf_get_mark(0, '>') }
  if vim.fn.visualmode() == 'v' and marks[1][1] == command.line1 and marks[2][1] == command.line2 then
    from, to = marks[1], marks[2]
    if vim.o.selection ~= 'exclusive' then
      local line = api.nvim_buf_get_lines(0, to[1] - 1, to[1], false)[1] or ''
      to = { to[1], to[2] < #line and to[2] + vim.str_utf_end(line, to[2] + 1) + 1 or #line }
    end
  end
  ---@param place integer[]
  ---@return lsp.Position
  local function position(place)
    local line = api.nvim_buf_get_lines(0, place[1] - 1, place[1], false)[1] or ''
    local character = vim.str_utfindex(line, client.offset_encoding, math.min(place[2], #line), false)
    return { line = place[1] - 1, character = character }
  end
  return { start = position(from), ['end'] = position(to) }
end

---What other tools complain about in there.
---@param range lsp.Range
---@param client vim.lsp.Client
---@return { range: lsp.Range, message: string }[]
local function problems(range, client)
  local severity = { min = vim.diagnostic.severity.WARN } ---@type vim.diagnostic.SeverityFilter
  local found = {}
  for _, each in ipairs(vim.diagnostic.get(0, { severity = severity })) do
    if each.lnum >= range.start.line and each.lnum <= range['end'].line then
      ---@param row integer
      ---@param col integer
      ---@return lsp.Position
      local function position(row, col)
        local line = api.nvim_buf_get_lines(0, row, row + 1, false)[1] or ''
        return { line = row, character = vim.str_utfindex(line, client.offset_encoding, math.min(col, #line), false) }
      end
      local place = {
        start = position(each.lnum, each.col),
        ['end'] = position(each.end_lnum or each.lnum, each.end_col or each.col),
      }
      found[#found + 1] = { range = place, message = each.message }
    end
  end
  return found
end

---@param client vim.lsp.Client
---@param command vim.api.keyset.create_user_command.command_args
function M.canvas(client, command)
  require('palimpsest.instruct').canvas(client, range_of(command, client))
end

---Run a command of the server, and show what comes of it.
---@param client vim.lsp.Client
---@param bufnr integer
---@param argument { action: string, [string]: any } Of `palimpsest.run`.
function M.execute(client, bufnr, argument)
  M.cancel(bufnr)
  local this ---@type { client: vim.lsp.Client, id: integer, action: string }
  local sent, id = client:request(
    'workspace/executeCommand',
    { command = 'palimpsest.run', arguments = { argument } },
    function(err, result)
      if running[bufnr] == this then
        running[bufnr] = nil
        clear(bufnr)
      end
      if err and err.code ~= -32800 then
        server.notify(err.message, vim.log.levels.ERROR)
      elseif result and result ~= vim.NIL then -- why nothing was changed, the server tells by itself
        require('palimpsest.instruct').ended(bufnr, result)
      end
    end,
    bufnr
  )
  if sent and id then
    this = { client = client, id = id, action = argument.action }
    running[bufnr] = this
    api.nvim_create_autocmd({ 'TextChanged', 'TextChangedI', 'TextChangedP', 'BufUnload' }, {
      buffer = bufnr,
      once = true,
      callback = function()
        clear(bufnr)
      end,
    })
  end
end

---@param action string The first column of docs/actions.md.
---@param command? vim.api.keyset.create_user_command.command_args With a range, if there is a selection.
---@param instruction? string For the actions that are told what to do.
function M.run(action, command, instruction)
  local bufnr = api.nvim_get_current_buf()
  local client = server.client(bufnr)
  if not client then
    server.notify('no server is attached to this buffer; :checkhealth palimpsest may say why', vim.log.levels.WARN)
    return
  end
  local range = range_of(command, client)
  local told = (action == 'instruct' or action == 'explain') and problems(range, client)
  local broken = action == 'repair' and problems(range, client)
  M.execute(client, bufnr, {
    action = action,
    uri = vim.uri_from_bufnr(bufnr),
    range = range,
    problems = broken and vim.tbl_map(function(each)
      return each.range
    end, broken) or nil,
    diagnostics = told and vim.list_slice(told, 1, MOST_DIAGNOSTICS) or nil,
    instruction = instruction,
  })
end

---@param bufnr integer
---@return boolean # something was running
function M.cancel(bufnr)
  local this = running[bufnr]
  if not this then
    return false
  end
  running[bufnr] = nil
  this.client:cancel_request(this.id)
  clear(bufnr)
  require('palimpsest.preview').decide(bufnr, false)
  return true
end

return M
