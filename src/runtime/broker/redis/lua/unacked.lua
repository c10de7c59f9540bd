#!lua flags=allow-oom,no-writes
-- Tells of what was taken and not settled whether anybody could restore it.
-- KEYS[1] unacked  KEYS[2] unacked_index
-- ARGV[1] how many records are looked at one by one; with more, only the difference of the counts is told, which is a lower bound
-- Returns the number of records without an entry in the index, and the age in seconds of the oldest entry (-1: there is none).

local records = redis.call('HLEN', KEYS[1])
local missing = 0
if records <= tonumber(ARGV[1]) then
  for _, tag in ipairs(redis.call('HKEYS', KEYS[1])) do
    if not redis.call('ZSCORE', KEYS[2], tag) then missing = missing + 1 end
  end
else
  missing = math.max(0, records - redis.call('ZCARD', KEYS[2]))
end
local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #oldest == 0 then return { missing, -1 } end
-- A parked message is entered with its due time, which is still to come.
return { missing, math.max(0, math.floor(redis.call('TIME')[1] - tonumber(oldest[2]))) }
