-- The connection: what the client says it can do, what the server tells by itself, and what happens when it dies.

local M = {}

---@class palimpsest.Status See docs/protocol.md.
---@field state 'starting'|'loading'|'ready'|'busy'|'paused'|'error'
---@field reason string
---@field model string
---@field device string
---@field lastEmpty? { request: string, reason: string }
---@field lastDoubt? string
---@field paused string[]
---@field counters table<string, integer>

local NAME = 'palimpsest'
local PLACEHOLDER = 'palimpsest (ended)'
local CHANGED = 'the document changed'
local CALM_S = 300 -- a server that dies again within that time is not started a third time

---@type table<integer, palimpsest.Status>
local statuses = {}
---@type table<integer, { config: vim.lsp.ClientConfig, buffers: table<integer, true> }>
local known = {}
---@type table<integer, true> Clients whose server has died.
local crashed = {}
---@type number?
local last_crash
---@type string?
local ended

---A message longer than the line for it would wait for Enter, and eat what is being typed. So in insert mode the
---rest of it is found in |:messages|.
---@param message string
---@param level? integer
function M.notify(message, level)
  message = 'Palimpsest: ' .. message
  if vim.api.nvim_get_mode().mode:sub(1, 1) ~= 'i' or (#message < vim.v.echospace and not message:find('\n')) then
    vim.notify(message, level or vim.log.levels.INFO)
    return
  end
  vim.cmd.echomsg({ vim.fn.string(message), mods = { silent = true } })
  local short = vim.fn.strcharpart(message:gsub('\n.*', ''), 0, vim.v.echospace - 2)
  vim.api.nvim_echo({ { short .. '…', level == vim.log.levels.ERROR and 'ErrorMsg' or 'WarningMsg' } }, false, {})
end

---Neovim tells of the end of a server in a message of that length. Ours says it, too.
local function hush_neovim()
  local notify = vim.notify
  ---@param message string
  ---@return any
  local function quiet(message, ...)
    if not message:match('^Client ' .. NAME .. ' quit') then
      return notify(message, ...)
    end
  end
  vim.notify = quiet
  vim.defer_fn(function()
    if vim.notify == quiet then
      vim.notify = notify
    end
  end, 500)
end

---How the server is started, as the plugin and the user have it.
---@return vim.lsp.Config
function M.configured()
  local all = vim.lsp.config --[[@as table<string, vim.lsp.Config>]]
  return all[NAME]
end

---The server of a buffer.
---@param bufnr integer
---@return vim.lsp.Client?
function M.client(bufnr)
  local newest ---@type vim.lsp.Client? While restarting there are two.
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME, bufnr = bufnr })) do
    newest = (not newest or client.id > newest.id) and client or newest
  end
  return newest
end

---Neovim's own inline completion is to be used, and is there.
---@return boolean
function M.native()
  return vim.lsp.inline_completion ~= nil and require('palimpsest').options.backend == 'native'
end

---@param client_id? integer
---@return palimpsest.Status?
function M.status(client_id)
  return statuses[client_id]
end

---@param bufnr integer
---@return string
function M.status_line(bufnr)
  local client = M.client(bufnr)
  if not client then
    return ended and NAME .. ': ' .. ended or ''
  end
  local status = statuses[client.id]
  if not status then
    return NAME .. ': starting'
  elseif status.state == 'ready' then
    local due = require('palimpsest.offer').status()
    if due then
      return NAME .. ': ' .. due
    end
    local said = status.lastEmpty and status.lastEmpty.reason or status.lastDoubt or ''
    return said ~= '' and NAME .. ': ' .. said or NAME
  elseif status.state == 'busy' then
    return NAME .. ' …'
  end
  return ('%s: %s%s'):format(NAME, status.state, status.reason ~= '' and ', ' .. status.reason or '')
end

---@param status palimpsest.Status
---@param context lsp.HandlerContext
local function on_status(_, status, context)
  status.lastEmpty = status.lastEmpty ~= vim.NIL and status.lastEmpty or nil
  statuses[context.client_id] = status
  vim.api.nvim_exec_autocmds('User', { pattern = 'PalimpsestStatus', modeline = false })
  vim.cmd.redrawstatus()
end

---@param draft palimpsest.Draft
---@param context lsp.HandlerContext
local function on_draft(_, draft, context)
  if not require('palimpsest').options.drafts then
    return
  end
  if draft.hole ~= nil and draft.hole ~= vim.NIL then
    require('palimpsest.rewrite').draft(draft, context.client_id)
  elseif not M.native() then
    require('palimpsest.inline').draft(draft, context.client_id)
  end
end

---Whether edits are for a text that is another one by now. Neovim would leave them out, too, but say that they were applied.
---@param params lsp.ApplyWorkspaceEditParams
---@return boolean
local function is_stale(params)
  for _, change in ipairs(params.edit.documentChanges or {}) do
    local document = change.textDocument
    local bufnr = document and vim.uri_to_bufnr(document.uri)
    local version = document and document.version
    if version and version ~= vim.NIL and version ~= vim.lsp.util.buf_versions[bufnr] then
      return true
    end
  end
  return false
end

---@async
---@param err lsp.ResponseError?
---@param params lsp.ApplyWorkspaceEditParams
---@param context lsp.HandlerContext
---@return any
local function on_apply_edit(err, params, context)
  local client = vim.lsp.get_client_by_id(context.client_id)
  local wanted = not is_stale(params) and require('palimpsest.rewrite').allowed(params, client)
  if is_stale(params) then
    return { applied = false, failureReason = CHANGED }
  elseif not wanted then
    return { applied = false, failureReason = 'cancelled' }
  end
  return vim.lsp.handlers['workspace/applyEdit'](err, wanted, context)
end

---Through |vim.notify()|, which people replace by something nicer.
---@param params lsp.ShowMessageParams
---@return any
local function on_message(_, params)
  local levels = { vim.log.levels.ERROR, vim.log.levels.WARN } ---@type table<integer, integer>
  M.notify((params.message:gsub('^Palimpsest: ', '')), levels[params.type])
  return vim.NIL
end

---@param config vim.lsp.ClientConfig
---@param buffers table<integer, any>
---@param old? integer A client that is not to be used any more.
local function start(config, buffers, old)
  for bufnr in pairs(buffers) do
    if vim.api.nvim_buf_is_loaded(bufnr) then
      vim.lsp.start(config, {
        bufnr = bufnr,
        reuse_client = function(client, wanted)
          return client.id ~= old
            and client.name == wanted.name
            and client.root_dir == wanted.root_dir
            and not client:is_stopped()
        end,
      })
    end
  end
end

---If the text of a buffer changes while it has no client, Neovim (0.12.4) never tells a later one of any change.
---So there is a client that does nothing, until there is a server again.
---@param buffers table<integer, true>
local function hold(buffers)
  local closing = false
  start({
    name = PLACEHOLDER,
    cmd = function(dispatchers)
      local function close()
        closing = true
        dispatchers.on_exit(0, 0)
      end
      return {
        request = function(method, _, callback)
          callback(nil, method == 'initialize' and { capabilities = {} } or vim.NIL)
          return true, 1
        end,
        notify = function(method)
          if method == 'exit' then
            close()
          end
          return true
        end,
        is_closing = function()
          return closing
        end,
        terminate = close,
      }
    end,
  }, buffers)
end

---@param code integer
---@param signal integer
---@param client_id integer
local function on_exit(code, signal, client_id)
  local was = known[client_id]
  local asked_to = code == 0 and (signal == 0 or signal == 15) or code == 143
  statuses[client_id], known[client_id] = nil, nil
  if not was or asked_to then
    return
  end
  crashed[client_id] = true
  hush_neovim()
  vim.schedule(function()
    if vim.v.exiting ~= vim.NIL then
      return
    end
    local how = signal ~= 0 and ('signal %d'):format(signal) or ('exit code %d'):format(code)
    local now = vim.uv.now() / 1000
    if last_crash and now - last_crash < CALM_S then
      ended = ('the server has ended (%s)'):format(how)
      hold(was.buffers)
      M.notify(('the server has ended again (%s); see :Palimpsest log'):format(how), vim.log.levels.ERROR)
    else
      last_crash = now
      start(was.config, was.buffers, client_id)
      M.notify(('the server has ended (%s); it is started again'):format(how), vim.log.levels.WARN)
    end
    require('palimpsest.inline').dismiss()
    require('palimpsest.offer').drop()
    require('palimpsest.rewrite').clear_all()
    require('palimpsest.preview').reject_all()
    vim.cmd.redrawstatus()
  end)
end

---A key may be typed after Neovim (0.12) has taken the client from the buffer and before `on_exit` is through.
---@param client vim.lsp.Client
---@param bufnr integer
function M.detached(client, bufnr)
  if crashed[client.id] then
    hold({ [bufnr] = true })
  end
end

---Start a server for the same buffers, and then stop the one there is; if none runs, as when a file is opened.
function M.restart()
  last_crash, ended = nil, nil
  local clients = vim.lsp.get_clients({ name = NAME })
  for _, client in ipairs(clients) do
    start(client.config, client.attached_buffers, client.id)
    client:stop()
  end
  if #clients == 0 then
    vim.lsp.enable(NAME)
  end
end

---What the rest of the plugin needs of the client. The user's own `vim.lsp.config` ranks above it.
---@return vim.lsp.Config
function M.config()
  return {
    capabilities = { textDocument = { inlineCompletion = { dynamicRegistration = false } } },
    init_options = { palimpsest = { drafts = require('palimpsest').options.drafts }, client = { explains = true } },
    handlers = {
      ['palimpsest/status'] = on_status,
      ['palimpsest/draft'] = on_draft,
      ['window/showMessage'] = on_message,
      ['workspace/applyEdit'] = on_apply_edit,
    },
    -- What is chosen in the menu of code actions goes the same way as our own commands.
    commands = {
      ['palimpsest.run'] = function(command, context)
        local client = vim.lsp.get_client_by_id(context.client_id)
        if client then
          require('palimpsest.rewrite').execute(client, context.bufnr, command.arguments[1])
        end
      end,
    },
    on_exit = on_exit,
  }
end

---@param client vim.lsp.Client
---@param bufnr integer
function M.attached(client, bufnr)
  ended = nil
  known[client.id] = known[client.id] or { config = client.config, buffers = {} }
  known[client.id].buffers[bufnr] = true
  for _, placeholder in ipairs(vim.lsp.get_clients({ name = PLACEHOLDER, bufnr = bufnr })) do
    placeholder:stop()
  end
  if M.native() then
    require('palimpsest.native').attach(client, bufnr)
  else
    if vim.lsp.inline_completion then
      vim.lsp.inline_completion.enable(false, { client_id = client.id }) -- or two would paint
    end
    require('palimpsest.inline').attach(bufnr)
  end
  require('palimpsest.next_edit').attach(bufnr)
end

return M
