-- What people call: options, and what keys do. Loads nothing else until something of it is needed.

local M = {}

---@class palimpsest.Keys What is pressed in insert mode; `false` for none.
---@field accept? string|false
---@field accept_word? string|false
---@field accept_line? string|false
---@field next? string|false
---@field previous? string|false
---@field dismiss? string|false
---@field trigger? string|false
---@field next_edit? string|false In normal and insert mode, if it is bound to nothing else.
---@field dismiss_next_edit? string|false In normal mode, while one is offered.
---@field accept_hunk? string|false While several places of a preview can be decided one by one; the next two in normal mode.
---@field reject_hunk? string|false
---@field next_hunk? string|false
---@field previous_hunk? string|false

---@class palimpsest.Options
---@field cmd? string[] What starts the server.
---@field filetypes? string[] Where it is started.
---@field settings? table<string, any> Settings of the server; as initialization options, so that all of them count.
---@field automatic? boolean Suggest while typing. Otherwise only when asked.
---@field drafts? boolean Show what the model is about to write.
---@field preview? boolean Show what a command wrote before it is written, and ask.
---@field next_edit? boolean|'subtle' Offer what has to change after a change; 'subtle': by a mark, until the key is pressed.
---@field backend? 'own'|'native' Who shows suggestions: this plugin, or Neovim's own |lsp-inline_completion|.
---@field keys? palimpsest.Keys|false

---@class palimpsest.Settled : palimpsest.Options
---@field automatic boolean
---@field drafts boolean
---@field preview boolean
---@field next_edit boolean|'subtle'
---@field backend 'own'|'native'
---@field keys palimpsest.Keys
M.options = {
  automatic = true,
  drafts = true,
  preview = true,
  next_edit = true,
  backend = 'own',
  keys = {
    accept = '<Tab>',
    accept_word = '<M-w>',
    accept_line = '<M-l>',
    next = '<M-n>',
    previous = '<M-p>',
    dismiss = '<C-e>',
    trigger = '<M-\\>',
    next_edit = '<Tab>',
    dismiss_next_edit = '<Esc>',
    accept_hunk = '<M-y>',
    reject_hunk = '<M-n>',
    next_hunk = ']h',
    previous_hunk = '[h',
  },
}

local KINDS = {
  cmd = 'table',
  filetypes = 'table',
  settings = 'table',
  automatic = 'boolean',
  drafts = 'boolean',
  preview = 'boolean',
  next_edit = { 'boolean', 'string' },
  backend = 'string',
  keys = { 'table', 'boolean' },
}

---Options, and the server for their file types; need not be called if |vim.lsp.enable()| is.
---@param options? palimpsest.Options
function M.setup(options)
  options = options or {}
  for name, value in pairs(options) do
    if not KINDS[name] then
      error(('palimpsest: there is no option %q'):format(name), 2)
    end
    vim.validate(name, value, KINDS[name])
  end
  if options.backend and options.backend ~= 'own' and options.backend ~= 'native' then
    error("palimpsest: the option backend is 'own' or 'native'", 2)
  end
  if type(options.next_edit) == 'string' and options.next_edit ~= 'subtle' then
    error("palimpsest: the option next_edit is true, false or 'subtle'", 2)
  end
  if options.keys == false then
    options = vim.tbl_extend('force', options, { keys = {} })
    M.options.keys = {}
  end
  M.options = vim.tbl_deep_extend('force', M.options, options)
  vim.lsp.config('palimpsest', {
    cmd = options.cmd,
    filetypes = options.filetypes,
    init_options = { palimpsest = vim.tbl_extend('keep', options.settings or {}, { drafts = M.options.drafts }) },
  })
  vim.lsp.enable('palimpsest')
end

---Who shows suggestions.
---@return table
local function backend()
  return require(require('palimpsest.server').native() and 'palimpsest.native' or 'palimpsest.inline')
end

---Take the whole suggestion.
---@return boolean # there was one
function M.accept()
  return backend().accept('all')
end

---Take its next word.
---@return boolean # there was one
function M.accept_word()
  return backend().accept('word')
end

---Take its next line.
---@return boolean # there was one
function M.accept_line()
  return backend().accept('line')
end

---Show the next suggestion; the first time, ask for several.
---@return boolean # there was one
function M.next()
  return backend().step(1)
end

---Show the one before.
---@return boolean # there was one
function M.previous()
  return backend().step(-1)
end

---Take the suggestion away.
---@return boolean # there was one
function M.dismiss()
  return backend().dismiss()
end

---Ask for suggestions here, whatever the rules for automatic ones say.
---@return boolean # somebody was asked
function M.trigger()
  return backend().trigger()
end

---Go to the place that has to change next; make the edit, if the cursor is there.
---@return boolean # one was offered
function M.next_edit()
  return require('palimpsest.next_edit').go()
end

---Take the next edit away, and do not offer it again.
---@return boolean # one was offered
function M.dismiss_next_edit()
  return require('palimpsest.offer').close('refused')
end

---A suggestion is on the screen.
---@return boolean
function M.visible()
  return backend().visible()
end

---For the status line: what the server is at, or why there is no suggestion; empty where there is no server.
---@param bufnr? integer
---@return string
function M.status(bufnr)
  return require('palimpsest.server').status_line(bufnr or 0)
end

return M
