-- Marks a message that was begun and not finished. Text again: `"redelivered": true` goes where Python workers look for
-- it, and a delivery that was lost with its worker is counted in a field of our own at the front, which kombu keeps and ignores.

local function mark_redelivered(raw)
  -- Only a real member matches: inside a JSON string the quotes would be escaped.
  if string.find(raw, '"redelivered": ?true') then return raw end
  return (string.gsub(raw, '("delivery_info": ?{)( ?")', '%1"redelivered": true, %2', 1))
end

local function mark_lost(raw)
  local count, rest = string.match(raw, '^{"taskqueue%-lost": ?(%d+), ?(.*)$')
  if not count then
    count, rest = 0, string.match(raw, '^%s*{(.*)$')
    -- What isn't an object goes back as it is; the decoder will refuse it.
    if not rest or string.match(rest, '^%s*}') then return raw end
  end
  return mark_redelivered('{"taskqueue-lost":' .. (tonumber(count) + 1) .. ',' .. rest)
end
