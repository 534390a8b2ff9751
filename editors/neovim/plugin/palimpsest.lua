-- What there is before the first file is opened: the command, the colours, and an ear for the server.

if vim.g.loaded_palimpsest or vim.fn.has('nvim-0.11') == 0 then
  return
end
vim.g.loaded_palimpsest = true

require('palimpsest.colours').define()
vim.api.nvim_create_autocmd('ColorScheme', {
  group = vim.api.nvim_create_augroup('palimpsest.colours', {}),
  desc = 'Palimpsest: colours that go with the scheme',
  callback = function()
    require('palimpsest.colours').define()
  end,
})

vim.api.nvim_create_autocmd({ 'LspAttach', 'LspDetach' }, {
  group = vim.api.nvim_create_augroup('palimpsest', {}),
  desc = 'Palimpsest: suggestions in this buffer',
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'palimpsest' then
      local server = require('palimpsest.server')
      local told = event.event == 'LspAttach' and server.attached or server.detached
      told(client, event.buf)
    end
  end,
})

for name, keys in pairs({ next_edit = 'next-edit', dismiss_next_edit = 'next-edit-dismiss' }) do
  vim.keymap.set({ 'n', 'i' }, ('<Plug>(palimpsest-%s)'):format(keys), function()
    require('palimpsest')[name]()
  end, { desc = 'Palimpsest: ' .. name:gsub('_', ' ') })
end

vim.api.nvim_create_user_command('Palimpsest', function(command)
  require('palimpsest.command').run(command)
end, {
  nargs = '+',
  range = true,
  desc = 'Palimpsest: fill, rewrite, ask, and look at the server',
  complete = function(...)
    return require('palimpsest.command').complete(...)
  end,
})
