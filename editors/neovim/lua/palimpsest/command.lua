-- :Palimpsest and its words.

local server = require('palimpsest.server')

local M = {}

---@param bufnr integer
---@return vim.lsp.Client?
local function client_or_tell(bufnr)
  local client = server.client(bufnr)
  if not client then
    server.notify('no server is attached to this buffer; :checkhealth palimpsest may say why', vim.log.levels.WARN)
  end
  return client
end

---@param lines string[]
---@param name string
local function show(lines, name)
  vim.cmd('botright new')
  vim.bo.buftype, vim.bo.bufhidden, vim.bo.swapfile = 'nofile', 'wipe', false
  vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
  pcall(vim.api.nvim_buf_set_name, 0, 'palimpsest://' .. name)
  vim.bo.modifiable = false
  vim.api.nvim_win_set_height(0, math.min(#lines + 1, math.floor(vim.o.lines / 2)))
  vim.keymap.set('n', 'q', '<Cmd>close<CR>', { buffer = true, nowait = true })
end

---@param words string[]
local function toggle(words)
  local bufnr = vim.api.nvim_get_current_buf()
  local client = client_or_tell(bufnr)
  if not client then
    return
  end
  local argument = { scope = words[1] or 'all', uri = vim.uri_from_bufnr(bufnr) }
  require('palimpsest').dismiss()
  client:request(
    'workspace/executeCommand',
    { command = 'palimpsest.pause', arguments = { argument } },
    function(err, result)
      if err then
        server.notify(err.message, vim.log.levels.ERROR)
      else
        server.notify((result.paused and 'paused for ' or 'resumed for ') .. result.what)
      end
    end,
    bufnr
  )
end

local function status()
  local client = client_or_tell(0)
  if not client then
    return
  end
  client:request('palimpsest/status' --[[@as any]], vim.empty_dict(), function(err, value)
    if err then
      server.notify(err.message, vim.log.levels.ERROR)
      return
    end
    ---@cast value palimpsest.Status
    local said = { ('%s%s'):format(value.state, value.reason ~= '' and ': ' .. value.reason or '') }
    if value.model ~= '' then
      said[#said + 1] = ('model %s on %s'):format(value.model, value.device ~= '' and value.device or '?')
    end
    if value.lastEmpty and value.lastEmpty ~= vim.NIL then
      said[#said + 1] = ('the last request (%s) got nothing: %s'):format(
        value.lastEmpty.request,
        value.lastEmpty.reason
      )
    end
    if value.lastDoubt and value.lastDoubt ~= '' then
      said[#said + 1] = 'the last suggestion is shown because you asked: ' .. value.lastDoubt
    end
    for _, what in ipairs(value.paused) do
      said[#said + 1] = 'paused: ' .. what
    end
    local counters = {}
    for name, count in vim.spairs(value.counters) do
      counters[#counters + 1] = ('%s %d'):format(name, count)
    end
    said[#said + 1] = table.concat(counters, ', ')
    show(said, 'status')
  end, 0)
end

local function log()
  local file = vim.lsp.log.get_filename()
  local lines = {}
  for line in vim.uv.fs_stat(file) and io.lines(file) or function() end do
    if line:find('palimpsest', 1, true) then
      -- What a server writes to its standard error has its line ends as \n in there.
      vim.list_extend(lines, vim.split((line:gsub('\\n', '\n'):gsub('\\t', '\t')), '\n', { trimempty = true }))
    end
  end
  show(
    #lines > 0 and vim.list_slice(lines, math.max(1, #lines - 2000)) or { file .. ' has nothing about Palimpsest' },
    'log'
  )
  vim.cmd('normal! G')
end

---@param words string[]
local function doctor(words)
  local config = server.configured()
  local program = type(config.cmd) == 'table' and config.cmd[1] or 'palimpsest'
  local command = vim.list_extend({ program, 'doctor' }, words)
  server.notify(table.concat(command, ' ') .. ' …')
  local started, why = pcall(
    vim.system,
    command,
    { text = true, env = { NO_COLOR = '1', COLUMNS = '100' } },
    function(done)
      vim.schedule(function()
        show(vim.split(vim.trim((done.stdout or '') .. (done.stderr or '')), '\n'), 'doctor')
      end)
    end
  )
  if not started then
    server.notify(tostring(why), vim.log.levels.ERROR)
  end
end

---@class palimpsest.Word
---@field run fun(words: string[], command: vim.api.keyset.create_user_command.command_args)
---@field words? string[] What may come after it.

---@type table<string, palimpsest.Word>
local WORDS = {
  toggle = { run = toggle, words = { 'all', 'language', 'folder', 'document' } },
  status = { run = status },
  log = { run = log },
  doctor = { run = doctor, words = { '--live' } },
  restart = {
    run = function()
      server.restart()
    end,
  },
  accept = {
    run = function(words)
      local preview, bufnr = require('palimpsest.preview'), vim.api.nvim_get_current_buf()
      local done ---@type boolean
      if words[1] == 'hunk' then
        done = preview.judge(bufnr, 'accepted')
      elseif words[1] == 'only' then
        done = preview.keep(bufnr)
      else
        done = preview.decide(bufnr, true)
      end
      if not done then
        server.notify('nothing waits to be accepted in this buffer')
      end
    end,
    words = { 'hunk', 'only' },
  },
  reject = {
    run = function(words)
      local preview, bufnr = require('palimpsest.preview'), vim.api.nvim_get_current_buf()
      if
        not (words[1] == 'hunk' and preview.judge(bufnr, 'rejected') or not words[1] and preview.decide(bufnr, false))
      then
        server.notify('nothing waits to be rejected in this buffer')
      end
    end,
    words = { 'hunk' },
  },
  nextEdit = {
    run = function(words)
      if words[1] == 'dismiss' then
        require('palimpsest').dismiss_next_edit()
      elseif not require('palimpsest').next_edit() and client_or_tell(vim.api.nvim_get_current_buf()) then
        require('palimpsest.next_edit').ask()
      end
    end,
    words = { 'dismiss' },
  },
  cancel = {
    run = function()
      if not require('palimpsest.rewrite').cancel(vim.api.nvim_get_current_buf()) then
        server.notify('nothing is running in this buffer')
      end
    end,
  },
}

for _, action in ipairs(require('palimpsest.rewrite').ACTIONS) do
  WORDS[action] = {
    run = function(_, command)
      require('palimpsest.rewrite').run(action, command)
    end,
  }
end

---@param action 'instruct'|'followUp'
---@return fun(_: any, command: vim.api.keyset.create_user_command.command_args)
local function instruct(action)
  return function(_, command)
    require('palimpsest.instruct').run(action, command, (command.args:gsub('^%s*%S+%s*', '', 1)))
  end
end

WORDS.instruct = { run = instruct('instruct') }
WORDS.followUp = { run = instruct('followUp') }

-- With words behind it, `rewrite` is told what to do.
local plain = WORDS.rewrite.run
WORDS.rewrite = {
  run = function(words, command)
    local run = #words == 0 and plain or WORDS.instruct.run
    run(words, command)
  end,
}
WORDS.canvas = {
  run = function(_, command)
    local client = client_or_tell(vim.api.nvim_get_current_buf())
    if client then
      require('palimpsest.rewrite').canvas(client, command)
    end
  end,
}

---@param name string Upper and lower case are the same.
---@return palimpsest.Word?
local function word_of(name)
  for each, word in pairs(WORDS) do
    if each:lower() == name:lower() then
      return word
    end
  end
end

---@param command vim.api.keyset.create_user_command.command_args
function M.run(command)
  local words = vim.list_slice(command.fargs, 2)
  local word = word_of(command.fargs[1])
  if word then
    word.run(words, command)
  else
    server.notify(('there is no :Palimpsest %s'):format(command.fargs[1]), vim.log.levels.ERROR)
  end
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local before = vim.split(line:sub(1, #line - #lead):gsub('^.*Palimpsest!?%s*', ''), '%s+', { trimempty = true })
  local choices = #before == 0 and vim.tbl_keys(WORDS) or #before == 1 and (word_of(before[1]) or {}).words or {}
  table.sort(choices)
  return vim.tbl_filter(function(each)
    return vim.startswith(each, lead)
  end, choices)
end

return M
