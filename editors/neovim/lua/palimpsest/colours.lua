-- The colours of what is not there yet. Groups that the user or a colour scheme has defined are left alone.

local M = {}

local GREY = 244 -- of 256 colours: readable on a light and on a dark ground, and in no terminal's own palette

---@param name string
---@return vim.api.keyset.get_hl_info
local function look(name)
  return vim.api.nvim_get_hl(0, { name = name, link = false })
end

---A colour scheme may have no colours for terminals: what looks like code there would be taken for code.
---@param name string
---@param like string
---@param more? vim.api.keyset.highlight
local function define(name, like, more)
  local base = look(like)
  local group = { default = true, fg = base.fg, bg = base.bg, ctermfg = base.ctermfg, ctermbg = base.ctermbg }
  vim.api.nvim_set_hl(0, name, vim.tbl_extend('force', group, more or {}))
end

function M.define()
  local comment, nontext = look('Comment'), look('NonText')
  define(
    'PalimpsestSuggestion',
    'Comment',
    { italic = true, ctermfg = comment.ctermfg or GREY, cterm = { italic = true } }
  )
  define('PalimpsestDraft', 'NonText', { ctermfg = nontext.ctermfg or GREY, cterm = { italic = true } })
  define('PalimpsestRemoved', 'DiffDelete', { strikethrough = true, cterm = { strikethrough = true } })
  vim.api.nvim_set_hl(0, 'PalimpsestAdded', { default = true, link = 'DiffAdd' })
  vim.api.nvim_set_hl(0, 'PalimpsestReason', { default = true, link = 'Comment' })
  vim.api.nvim_set_hl(0, 'PalimpsestNextEdit', { default = true, link = 'DiffText' })
  vim.api.nvim_set_hl(0, 'PalimpsestHint', { default = true, link = 'MoreMsg' })
end

return M
