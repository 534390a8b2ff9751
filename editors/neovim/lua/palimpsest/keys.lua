-- Keys. Most of them are there only while there is something to decide, so that without that nobody notices them.

local M = {}

---What the keys of |palimpsest-options| are for, if not for suggestions in insert mode.
M.ELSEWHERE = {
  next_edit = true,
  dismiss_next_edit = true,
  accept_hunk = true,
  reject_hunk = true,
  next_hunk = true,
  previous_hunk = true,
}

---What takes away the keys that are bound now, and gives back what they were bound to.
---@type (fun())[]?
local shown

---@param name string
---@param lhs string
---@return fun()
local function press(name, lhs)
  return function()
    if not require('palimpsest')[name]() then
      vim.api.nvim_feedkeys(vim.keycode(lhs), 'ni', false)
    end
  end
end

---With Alt, a key that is bound to nothing is Escape and that key: one too many would do something to the text.
---@param lhs string
---@return boolean
local function stays(lhs)
  return lhs:match('^<[MA]%-') ~= nil
end

---What holds a key of a buffer for a while, by `buffer mode key`; the newest has it. `before`: what the buffer had.
---@type table<string, { before: table, holders: { rhs: fun(), what: string }[] }>
local held = {}

---@param bufnr integer
---@param mode string
---@param lhs string
---@return table
local function mapping(bufnr, mode, lhs)
  return vim.api.nvim_buf_call(bufnr, function()
    return vim.fn.maparg(lhs, mode, false, true)
  end)
end

---@param bufnr integer
---@param mode string
---@param lhs string
---@param holder { rhs: fun(), what: string }
local function set(bufnr, mode, lhs, holder)
  vim.keymap.set(mode, lhs, holder.rhs, { buffer = bufnr, nowait = true, desc = 'Palimpsest: ' .. holder.what })
end

---A key has no meaning that somebody gave it; jumping in snippets is Neovim's own, and stays with |M.default()|.
---@param bufnr integer
---@param mode string
---@param lhs string
---@return boolean
function M.free(bufnr, mode, lhs)
  local found = mapping(bufnr, mode, lhs)
  local desc = found.desc or ''
  return vim.tbl_isempty(found) or vim.startswith(desc, 'vim.snippet') or vim.startswith(desc, 'Palimpsest: ')
end

---What a free key does without us.
---@param lhs string
function M.default(lhs)
  if vim.keycode(lhs) == '\t' and vim.snippet and vim.snippet.active({ direction = 1 }) then
    vim.snippet.jump(1)
  else
    vim.api.nvim_feedkeys(vim.keycode(lhs), 'ni', false)
  end
end

---Bind a key of a buffer for a while. If it is bound so already, the newest has it until it is given back.
---@param bufnr integer
---@param mode string
---@param lhs string
---@param rhs fun()
---@param what string In a word or two.
---@return fun() # gives it back
function M.bind(bufnr, mode, lhs, rhs, what)
  local name = ('%d %s %s'):format(bufnr, mode, vim.keycode(lhs))
  local key = held[name] or { before = mapping(bufnr, mode, lhs), holders = {} }
  local holder = { rhs = rhs, what = what }
  held[name] = key
  table.insert(key.holders, holder)
  set(bufnr, mode, lhs, holder)
  return function()
    if not vim.api.nvim_buf_is_valid(bufnr) then
      held[name] = nil
      return
    end
    local ours = mapping(bufnr, mode, lhs).callback == key.holders[#key.holders].rhs
    key.holders = vim.tbl_filter(function(each)
      return each ~= holder
    end, key.holders)
    held[name] = #key.holders > 0 and key or nil
    if not ours then
      return -- somebody else has bound it meanwhile
    elseif #key.holders > 0 then
      set(bufnr, mode, lhs, key.holders[#key.holders])
      return
    end
    vim.keymap.del(mode, lhs, { buffer = bufnr })
    if key.before.buffer == 1 then
      vim.api.nvim_buf_call(bufnr, function()
        vim.fn.mapset(mode, false, key.before)
      end)
    end
  end
end

---The keys that are always there.
---@param bufnr integer
function M.attach(bufnr)
  for name, lhs in pairs(require('palimpsest').options.keys) do
    if lhs and not M.ELSEWHERE[name] and (name == 'trigger' or stays(lhs)) and vim.fn.maparg(lhs, 'i') == '' then
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
    if lhs and not M.ELSEWHERE[name] and not stays(lhs) and name ~= 'trigger' then
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
