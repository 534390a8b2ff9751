-- Texts of suggestions: what of one is left, and what comes off it. Strings only.

local M = {}

---What is left of a text after some of it was typed; nil if something else was.
---@param text string
---@param typed string
---@return string?
function M.rest(text, typed)
  if vim.startswith(text, typed) then
    return text:sub(#typed + 1)
  end
end

---The beginning of it that is taken.
---@param text string
---@param what 'all'|'word'|'line'
---@return string
function M.first(text, what)
  local pattern = what == 'word' and [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]] or what == 'line' and [[^\n\?[^\n]*]]
  local found = pattern and vim.fn.matchstr(text, pattern) or ''
  return found ~= '' and found or text
end

return M
