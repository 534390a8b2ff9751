-- The next edit that is offered: on the screen, by a mark where it is out of sight, and the keys that decide about it.

local difference = require('palimpsest.difference')
local keys = require('palimpsest.keys')
local ranges = require('palimpsest.ranges')

local api = vim.api
local M = {}

local namespace = api.nvim_create_namespace('palimpsest.next_edit')

---@class palimpsest.Offer
---@field client vim.lsp.Client
---@field from integer The buffer that it was asked for in.
---@field bufnr integer The one that it is an edit of.
---@field tick integer What text that one had.
---@field edit palimpsest.Edit
---@field row integer Where it differs from what is there.
---@field col integer
---@field id string
---@field reason string
---@field command lsp.Command
---@field revealed boolean False as long as only a mark is to be seen.
---@field told boolean The server knows that it was shown.

---@type palimpsest.Offer?
local offered
---@type (fun())[]
local bound = {}
---One was made, and the one after it is on its way: the keys stay ours. 'wanted': its key was pressed already.
---@type 'awaited'|'wanted'|nil
local following
---What the status line says about it.
---@type string?
local said

---@param offer palimpsest.Offer
---@return boolean
local function is_here(offer)
  local row = api.nvim_win_get_cursor(0)[1] - 1
  return api.nvim_get_current_buf() == offer.bufnr and row >= offer.edit.first and row <= offer.edit.last
end

---@return string
local function key()
  return require('palimpsest').options.keys.next_edit or ':Palimpsest nextEdit'
end

local function clear()
  for _, bufnr in ipairs(offered and { offered.from, offered.bufnr } or {}) do
    if api.nvim_buf_is_valid(bufnr) then
      api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
    end
  end
end

---@param text? string
local function say(text)
  if said ~= text then
    said = text
    vim.cmd.redrawstatus()
  end
end

---@param row integer
---@param chunks [string, string][]
---@param position 'eol'|'right_align'
local function mark(row, chunks, position)
  api.nvim_buf_set_extmark(api.nvim_get_current_buf(), namespace, row, 0, {
    virt_text = chunks,
    virt_text_pos = position,
    hl_mode = 'combine',
    undo_restore = false,
  })
end

---It is out of sight: in which direction, and why it is due.
---@param arrow string
---@param where string
---@param row integer The line at that edge of the window.
---@param reason string
local function point(arrow, where, row, reason)
  local text = ('%s %s: %s'):format(arrow, where, reason)
  mark(row, { { ' ' .. text .. ' ', 'PalimpsestNextEdit' }, { ' ' .. key(), 'PalimpsestHint' } }, 'right_align')
  say(text)
end

---@param offer palimpsest.Offer
local function tell(offer)
  if not offer.told then
    offer.told = true
    offer.client:notify('textDocument/didShowInlineEdit' --[[@as any]], { item = { command = offer.command } })
  end
end

---Paint it anew: what is in sight has changed, or the mode, or where the cursor is.
function M.repaint()
  local offer = offered
  if not offer or M.is_stale() then
    return
  end
  clear()
  local top, bottom = vim.fn.line('w0') - 1, vim.fn.line('w$') - 1
  if api.nvim_get_current_buf() ~= offer.bufnr then
    if api.nvim_get_current_buf() == offer.from then
      local name = vim.fs.basename(api.nvim_buf_get_name(offer.bufnr))
      point('→', ('%s:%d'):format(name, offer.row + 1), bottom, offer.reason)
    end
  elseif offer.row < top then
    point('↑', tostring(offer.row + 1), top, offer.reason)
  elseif offer.row > bottom then
    point('↓', tostring(offer.row + 1), bottom, offer.reason)
  elseif not offer.revealed then
    mark(offer.row, { { ' ◂ ' .. key(), 'PalimpsestNextEdit' } }, 'eol')
    say(nil)
  else
    local canvas =
      { bufnr = offer.bufnr, namespace = namespace, removed = 'PalimpsestRemoved', added = 'PalimpsestAdded' }
    difference.paint(canvas, offer.edit)
    local what = is_here(offer) and ' makes it' or ' goes there'
    mark(offer.row, { { ' ' .. offer.reason, 'PalimpsestReason' }, { '  ' .. key() .. what, 'PalimpsestHint' } }, 'eol')
    say(nil)
    tell(offer)
  end
end

local function unbind()
  for _, each in ipairs(bound) do
    each()
  end
  bound = {}
end

---In insert mode, Tab is somebody else's while the menu is open or a snippet is filled in, and indents in front of a line.
---@return boolean
local function is_ours()
  if api.nvim_get_mode().mode:sub(1, 1) ~= 'i' then
    return true
  end
  local before = api.nvim_get_current_line():sub(1, api.nvim_win_get_cursor(0)[2])
  return vim.fn.pumvisible() == 0
    and not (vim.snippet and vim.snippet.active())
    and (following ~= nil or before:match('%S') ~= nil or (offered ~= nil and is_here(offered)))
end

local function bind()
  unbind()
  local bufnr, wanted = api.nvim_get_current_buf(), require('palimpsest').options.keys
  local go, refuse = wanted.next_edit, wanted.dismiss_next_edit
  for _, mode in ipairs(go and { 'n', 'i' } or {}) do
    if keys.free(bufnr, mode, go) then
      bound[#bound + 1] = keys.bind(bufnr, mode, go, function()
        local suggested = mode == 'i' and wanted.accept == go and require('palimpsest').accept()
        if not suggested and not (is_ours() and require('palimpsest').next_edit()) then
          keys.default(go)
        end
      end, 'next edit')
    end
  end
  if refuse then
    local free = keys.free(bufnr, 'n', refuse)
    bound[#bound + 1] = keys.bind(bufnr, 'n', refuse, function()
      M.close('refused')
      if not free then
        api.nvim_feedkeys(vim.keycode(refuse), 'mi', false) -- what somebody has bound it to is done, too
      end
    end, 'refuse the next edit')
  end
end

---The answer that was awaited is here, or will not come. If the key was pressed meanwhile, it counts now.
---@return boolean # it was
function M.settle()
  local wanted = following == 'wanted'
  following = nil
  if not offered then
    unbind()
  end
  return wanted and offered ~= nil
end

---The key is pressed while the next one is on its way.
---@return boolean # it is
function M.want()
  following = following and 'wanted'
  return following ~= nil
end

---@return boolean
function M.visible()
  return offered ~= nil and not M.is_stale()
end

---The text that it is an edit of is another one by now.
---@return boolean
function M.is_stale()
  return offered ~= nil
    and (not api.nvim_buf_is_loaded(offered.bufnr) or api.nvim_buf_get_changedtick(offered.bufnr) ~= offered.tick)
end

---What the status line is to say: where it is, if that is out of sight.
---@return string?
function M.status()
  return said
end

---Offer an edit. False if it is one of another text, or of none that is open.
---@param client vim.lsp.Client
---@param from integer The current buffer.
---@param item palimpsest.NextEdit
---@return boolean
function M.show(client, from, item)
  local awaited = following
  M.close('left')
  following = awaited
  local bufnr = vim.uri_to_bufnr(item.textDocument.uri)
  if not api.nvim_buf_is_loaded(bufnr) or not vim.bo[bufnr].modifiable then
    return false
  elseif item.textDocument.version ~= vim.lsp.util.buf_versions[bufnr] then
    return false
  end
  local edit = ranges.edit(bufnr, client.offset_encoding, item.range, item.text)
  if not edit then
    return false
  end
  local row, col = difference.begin(bufnr, edit)
  offered = {
    client = client,
    from = from,
    bufnr = bufnr,
    tick = api.nvim_buf_get_changedtick(bufnr),
    edit = edit,
    row = row,
    col = col,
    id = item.palimpsest.id,
    reason = item.palimpsest.reason,
    command = item.command,
    revealed = require('palimpsest').options.next_edit ~= 'subtle',
    told = false,
  }
  api.nvim_create_autocmd({ 'WinScrolled', 'WinResized', 'WinEnter' }, {
    group = api.nvim_create_augroup('palimpsest.offer', {}),
    desc = 'Palimpsest: the next edit is in sight, or out of it',
    callback = M.repaint,
  })
  bind()
  M.repaint()
  return true
end

---Take it away, and say nothing to the server.
---@return palimpsest.Offer? # what it was
function M.drop()
  local was = offered
  following = nil
  if was then
    clear()
    offered = nil
    api.nvim_create_augroup('palimpsest.offer', {})
    say(nil)
  end
  unbind()
  return was
end

---Take it away.
---@param why 'refused'|'typedOver'|'left'
---@return boolean # there was one
function M.close(why)
  local was = M.drop()
  if was then
    was.client:notify('palimpsest/didCloseInlineEdit' --[[@as any]], { id = was.id, why = why })
  end
  return was ~= nil
end

---The buffer is not the current one any more. An edit of the one that is gone to stays.
---@param bufnr integer
function M.leave(bufnr)
  vim.schedule(function()
    if offered and api.nvim_get_current_buf() ~= offered.bufnr and api.nvim_get_current_buf() ~= offered.from then
      M.close('left')
    elseif offered and bufnr ~= api.nvim_get_current_buf() then
      bind()
      M.repaint()
    end
  end)
end

---@param offer palimpsest.Offer
local function jump(offer)
  vim.cmd("normal! m'")
  if api.nvim_get_current_buf() ~= offer.bufnr then
    vim.cmd.buffer(offer.bufnr)
  end
  api.nvim_win_set_cursor(0, { offer.row + 1, offer.col })
  vim.cmd('normal! zv')
  M.repaint()
end

---Go there; if the cursor is there, make it.
---@param on_made fun(client: vim.lsp.Client, command: lsp.Command)
---@return boolean
function M.go(on_made)
  local offer = offered
  if not offer or M.is_stale() then
    return false
  end
  local hidden = not offer.revealed
  offer.revealed = true
  if not is_here(offer) then
    jump(offer)
  elseif hidden then
    M.repaint()
  else
    clear()
    offered, following = nil, 'awaited'
    ranges.apply(offer.bufnr, offer.edit)
    on_made(offer.client, offer.command)
  end
  return true
end

return M
