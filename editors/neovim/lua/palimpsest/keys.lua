-- Keys. Most of them are there only while there is something to decide, so that without that nobody notices them.

local M = {}

---What takes away the keys that are bound now, and gives back what they were bound to.
---@type (fun())[]?
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

---Bind a key of a buffer for a while.
---@param bufnr integer
---@param mode string
---@param lhs string
---@param rhs fun()
---@param what string In a word or two.
---@return fun() # binds it to what it was bound to before
function M.bind(bufnr, mode, lhs, rhs, what)
  local before = vim.api.nvim_buf_call(bufnr, function()
    return vim.fn.maparg(lhs, mode, false, true)
  end)
  vim.keymap.set(mode, lhs, rhs, { buffer = bufnr, nowait = true, desc = 'Palimpsest: ' .. what })
  return function()
    if not vim.api.nvim_buf_is_valid(bufnr) then
      return
    end
    pcall(vim.keymap.del, mode, lhs, { buffer = bufnr })
    if before.buffer == 1 then
      vim.api.nvim_buf_call(bufnr, function()
        vim.fn.mapset(mode, false, before)
      end)
    end
  end
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
  shown = {}
  for name, lhs in pairs(require('palimpsest').options.keys) do
    if lhs and not stays(lhs) and name ~= 'trigger' then
      table.insert(shown, M.bind(bufnr, 'i', lhs, press(name, lhs), name))
    end
  end
end

function M.hide()
  for _, unbind in ipairs(shown or {}) do
    unbind()
  end
  shown = nil
end

return M
