-- Keys of suggestions. Most of them are there only while a suggestion is, so that without one nobody notices them.

local M = {}

---Keys that are bound now, and what they were bound to in this buffer before.
---@type { bufnr: integer, bound: { lhs: string, before?: table<string, any> }[] }?
local shown

---@param name string
---@param lhs string
local function press(name, lhs)
  return function()
    if not require('palimpsest')[name]() then
      vim.api.nvim_feedkeys(vim.keycode(lhs), 'ni', false)
    end
  end
end

---With Alt, a key that is bound to nothing is Escape and that key: one too many would do something to the text.
---@param lhs string
local function stays(lhs)
  return lhs:match('^<[MA]%-') ~= nil
end

---@param mapping table<string, any> As maparg() gives it.
local function is_of(bufnr, mapping)
  return not vim.tbl_isempty(mapping) and mapping.buffer == 1 and vim.api.nvim_get_current_buf() == bufnr
end

---The keys that are always there.
---@param bufnr integer
function M.attach(bufnr)
  for name, lhs in pairs(require('palimpsest').options.keys) do
    if lhs and (name == 'trigger' or stays(lhs)) and vim.fn.maparg(lhs, 'i') == '' then
      vim.keymap.set('i', lhs, function()
        require('palimpsest')[name]()
      end, { buffer = bufnr, desc = 'Palimpsest: ' .. name:gsub('_', ' ') })
    end
  end
end

---The keys that are there while a suggestion is.
---@param bufnr integer The current buffer.
function M.show(bufnr)
  if shown then
    return
  end
  shown = { bufnr = bufnr, bound = {} }
  for name, lhs in pairs(require('palimpsest').options.keys) do
    if lhs and not stays(lhs) and name ~= 'trigger' then
      local before = vim.fn.maparg(lhs, 'i', false, true)
      table.insert(shown.bound, { lhs = lhs, before = is_of(bufnr, before) and before or nil })
      vim.keymap.set('i', lhs, press(name, lhs), { buffer = bufnr, nowait = true, desc = 'Palimpsest: ' .. name })
    end
  end
end

function M.hide()
  if not shown then
    return
  end
  local was = shown
  shown = nil
  if not vim.api.nvim_buf_is_valid(was.bufnr) then
    return
  end
  for _, each in ipairs(was.bound) do
    pcall(vim.keymap.del, 'i', each.lhs, { buffer = was.bufnr })
    if each.before then
      vim.api.nvim_buf_call(was.bufnr, function()
        vim.fn.mapset('i', false, each.before)
      end)
    end
  end
end

return M
