-- :checkhealth palimpsest

local M = {}

local health = vim.health

---Other programs that paint suggestions at the cursor, by a module or a variable that they have.
local OTHERS = {
  ['copilot.lua'] = 'copilot',
  ['copilot.vim'] = 'g:loaded_copilot',
  ['codeium.vim'] = 'g:loaded_codeium',
  ['supermaven-nvim'] = 'supermaven-nvim',
  ['minuet-ai.nvim'] = 'minuet',
  ['llm.nvim'] = 'llm',
}

local function check_neovim()
  ---@diagnostic disable-next-line: call-non-callable
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.11') == 0 then
    health.error(('Neovim %s is too old: 0.11 is needed'):format(version))
    return
  end
  local options = require('palimpsest').options
  health.ok(('Neovim %s'):format(version))
  if options.backend == 'native' and not vim.lsp.inline_completion then
    health.warn("backend = 'native' needs Neovim 0.12; suggestions are shown by this plugin")
  else
    local native = require('palimpsest.server').native()
    health.info('suggestions are shown by ' .. (native and 'vim.lsp.inline_completion' or 'this plugin'))
  end
  local file = vim.api.nvim_get_runtime_file('lua/palimpsest/init.lua', false)[1]
  local begun = vim.uv.hrtime()
  local chunk = loadfile(file)
  assert(chunk)
  chunk()
  health.info(("require('palimpsest') takes %.2f ms"):format((vim.uv.hrtime() - begun) / 1e6))
end

local function check_program()
  local config = require('palimpsest.server').configured()
  if type(config.cmd) ~= 'table' then
    health.info('the server is started by a function of yours')
    return
  end
  local program = config.cmd[1]
  local path = vim.fn.exepath(program)
  if path == '' then
    health.error(('`%s` cannot be run'):format(program), {
      'install it: pipx install palimpsest-ls, or uv tool install palimpsest-ls',
      'or say where it is: require("palimpsest").setup({ cmd = { "/path/to/palimpsest", "serve" } })',
    })
    return
  end
  local said = vim.system({ path, '--version' }, { text = true }):wait(20000)
  if said.code ~= 0 then
    health.error(('`%s --version` fails: %s'):format(path, vim.trim(said.stderr or '')))
    return
  end
  health.ok(('%s (%s)'):format(vim.trim(said.stdout or ''), path))
end

local function check_servers()
  if not vim.lsp.is_enabled('palimpsest') then
    health.warn('the server is not enabled', { "vim.lsp.enable('palimpsest'), or require('palimpsest').setup()" })
  end
  local config = require('palimpsest.server').configured()
  health.info('it is started for: ' .. table.concat(config.filetypes or { 'every file type' }, ', '))
  local clients = vim.lsp.get_clients({ name = 'palimpsest' })
  if #clients == 0 then
    health.info('no server is running; it is started with the first file of these types')
  end
  for _, client in ipairs(clients) do
    local buffers = vim.tbl_count(client.attached_buffers)
    local where = ('server %d, %d buffer%s, %s'):format(
      client.id,
      buffers,
      buffers == 1 and '' or 's',
      client.offset_encoding
    )
    local status = require('palimpsest.server').status(client.id)
    if not client.server_capabilities.inlineCompletionProvider then
      health.error(
        where .. ': it offers no inline completion',
        { 'another `lsp/palimpsest.lua` ranks above the plugin?' }
      )
    elseif not status then
      health.warn(where .. ': it has not told its state yet')
    else
      local report = status.state == 'error' and health.error or status.state == 'paused' and health.warn or health.ok
      report(('%s: %s%s'):format(where, status.state, status.reason ~= '' and ', ' .. status.reason or ''))
      if status.model ~= '' then
        health.info(('model %s on %s'):format(status.model, status.device ~= '' and status.device or '?'))
      end
      health.info('the last request that got nothing: ' .. (status.lastEmpty and status.lastEmpty.reason or 'none'))
    end
  end
end

local function check_conflicts()
  local found = false
  ---@param message string
  ---@param advice string[]
  local function conflict(message, advice)
    found = true
    health.warn(message, advice)
  end
  for name, sign in pairs(OTHERS) do
    local variable = sign:match('^g:(.*)')
    if variable and vim.g[variable] ~= nil or not variable and package.loaded[sign] then
      conflict(('%s paints suggestions at the cursor, too'):format(name), { 'switch one of the two off' })
    end
  end
  local files = vim.api.nvim_get_runtime_file('lsp/palimpsest.lua', true)
  if #files > 1 then
    conflict(
      'there is more than one lsp/palimpsest.lua: ' .. table.concat(files, ', '),
      { 'delete those that you copied' }
    )
  end
  local options, keys = require('palimpsest').options, require('palimpsest.keys')
  for name, lhs in pairs(options.keys) do
    if lhs and not keys.ELSEWHERE[name] then
      local mapping = vim.fn.maparg(lhs, 'i', false, true)
      local ours = (mapping.desc or ''):match('^Palimpsest')
      if not vim.tbl_isempty(mapping) and not ours and lhs:match('^<[MA]%-') then
        conflict(('%s is bound to something else, so it is not bound to %s'):format(lhs, name), {
          ('require("palimpsest").setup({ keys = { %s = "…" } })'):format(name),
        })
      end
    end
  end
  for _, mode in ipairs(options.keys.next_edit and options.next_edit and { 'n', 'i' } or {}) do
    if not keys.free(0, mode, options.keys.next_edit) then
      conflict(
        ('%s is bound to something else in %s mode, so it does not go to the next edit'):format(
          options.keys.next_edit,
          mode == 'n' and 'normal' or 'insert'
        ),
        { 'bind another key to <Plug>(palimpsest-next-edit), or set the option keys.next_edit' }
      )
    end
  end
  if not found then
    health.ok('nothing is known to get in the way')
  end
end

function M.check()
  health.start('Palimpsest: Neovim')
  check_neovim()
  if vim.fn.has('nvim-0.11') == 0 then
    return
  end
  health.start('Palimpsest: the program')
  check_program()
  health.start('Palimpsest: servers')
  check_servers()
  health.start('Palimpsest: conflicts')
  check_conflicts()
end

return M
