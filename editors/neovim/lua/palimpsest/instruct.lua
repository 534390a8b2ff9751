-- What a user says is to be done, and what there is to see of an answer beside its edit.

local server = require('palimpsest.server')

local api = vim.api
local M = {}

---@type table<string, string[]>
local READY = {
  instruct = {
    'add a docstring',
    'add type annotations',
    'simplify it',
    'handle errors',
    'translate the comments into English',
  },
  followUp = { 'shorter', 'keep the names', 'keep the comments', 'with comments', 'another way' },
}
local PROMPTS = {
  instruct = 'Palimpsest: what is to be done with these lines? ',
  followUp = 'Palimpsest: what is to be different? ',
}
local REMEMBERED = 30

---What was said, the newest first; Neovim's own history of inputs has it, too, and may keep it in its ShaDa file.
---@type table<string, string[]>
local said = { instruct = {}, followUp = {} }
local asked = 'instruct'

---For `customlist` of |input()|: what was said to the same question, and what most models understand.
---@param lead string
---@return string[]
function M.complete(lead)
  local choices = vim.list_extend(vim.deepcopy(said[asked]), READY[asked])
  return vim.tbl_filter(function(each)
    return vim.startswith(each:lower(), lead:lower())
  end, choices)
end

---Run an action with an instruction; without one, ask for it.
---@param action 'instruct'|'followUp'
---@param command vim.api.keyset.create_user_command.command_args
---@param text string
function M.run(action, command, text)
  ---@param what? string
  local function go(what)
    what = vim.trim(what or '')
    if what == '' then
      return
    end
    local others = vim.tbl_filter(function(each)
      return each ~= what and not vim.list_contains(READY[action], each)
    end, said[action])
    said[action] = vim.list_slice({ what, unpack(others) }, 1, REMEMBERED)
    vim.fn.histadd('input', what)
    require('palimpsest.rewrite').run(action, command, what)
  end
  if vim.trim(text) ~= '' then
    go(text)
    return
  end
  asked = action
  vim.ui.input({ prompt = PROMPTS[action], completion = "customlist,v:lua.require'palimpsest.instruct'.complete" }, go)
end

---@param bufnr integer
---@param told? { version: integer, versions: integer }
local function version(bufnr, told)
  local words = told and (told.version == 0 and 'the original' or ('%d of %d'):format(told.version, told.versions))
  if words and words ~= vim.b[bufnr].palimpsest_version then
    server.notify('version: ' .. words)
  end
  vim.b[bufnr].palimpsest_version = words
end

---@param bufnr integer
---@param markdown string
local function explain(bufnr, markdown)
  local here = api.nvim_get_current_buf() == bufnr and api.nvim_get_mode().mode == 'n'
  local _, window = vim.lsp.util.open_floating_preview(vim.split(vim.trim(markdown), '\r?\n'), 'markdown', {
    border = 'rounded',
    title = ' Palimpsest ',
    max_width = 80,
    max_height = math.max(5, math.floor(vim.o.lines / 2)),
    close_events = here and { 'BufHidden' } or { 'CursorMoved', 'CursorMovedI', 'BufHidden' },
  })
  if here then -- to be read, and scrolled; `q` closes it
    api.nvim_set_current_win(window)
    vim.wo[window].concealcursor = 'n'
    api.nvim_create_autocmd('WinLeave', {
      buffer = api.nvim_win_get_buf(window),
      once = true,
      callback = vim.schedule_wrap(function()
        pcall(api.nvim_win_close, window, true)
      end),
    })
  end
end

---@param uri string
local function show_test(uri)
  local file = vim.uri_to_fname(uri)
  if api.nvim_get_mode().mode == 'n' then
    vim.cmd.split({ args = { vim.fn.fnameescape(file) }, mods = { silent = true } }) -- two messages would wait for a key
    vim.cmd('normal! G')
  end
  server.notify(('the test is in %s, which is not saved yet'):format(vim.fn.fnamemodify(file, ':~:.')))
end

---Show what came of an action beside its edit.
---@param bufnr integer
---@param result { applied: boolean, conversation?: table, explanation?: string, uri?: string }
function M.ended(bufnr, result)
  if not api.nvim_buf_is_valid(bufnr) then
    return
  end
  if result.conversation ~= nil then
    version(bufnr, result.conversation ~= vim.NIL and result.conversation or nil)
  end
  if result.explanation then
    explain(bufnr, result.explanation)
  end
  if result.applied and result.uri and result.uri ~= vim.NIL then
    show_test(result.uri)
  end
end

---Have the server show a fill at work in a page of this machine, and open it.
---@param client vim.lsp.Client
---@param range lsp.Range
function M.canvas(client, range)
  local bufnr = api.nvim_get_current_buf()
  local argument = { uri = vim.uri_from_bufnr(bufnr), range = range }
  local command = { command = 'palimpsest.canvas', arguments = { argument } }
  client:request('workspace/executeCommand', command, function(err, result)
    if err then
      server.notify(err.message, vim.log.levels.ERROR)
    elseif result and type(result.url) == 'string' and not result.shown then
      local _, why = vim.ui.open(result.url)
      if why then
        server.notify(('%s: %s'):format(result.url, why), vim.log.levels.WARN)
      end
    end
  end, bufnr)
end

return M
