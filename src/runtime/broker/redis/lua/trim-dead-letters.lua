#!lua flags=allow-oom
-- Forgets dead letters that are too many or too old, and says how many there are.
-- KEYS[1] letters  KEYS[2] messages  KEYS[3] index  KEYS[4] counts
-- ARGV[1] how many are kept at most  ARGV[2] for how many seconds
-- Returns how many there are, and how many were forgotten since this was asked last, by anyone.
--include dead

local now = tonumber(redis.call('TIME')[1])
-- A key of another type must not hold up what else the worker does with the broker.
local done, forgotten = pcall(function()
  trim_dead(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], now - tonumber(ARGV[2]))
  local count = tonumber(redis.call('HGET', KEYS[4], 'forgotten') or 0)
  if count > 0 then redis.call('HDEL', KEYS[4], 'forgotten') end
  return count
end)
if not done then return { 0, 0 } end
return { redis.call('ZCARD', KEYS[3]), forgotten }
