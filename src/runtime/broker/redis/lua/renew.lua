#!lua flags=allow-oom
-- Renews leases: ours, and the score by which kombu's sweepers judge, both by the broker's clock.
-- KEYS[1] unacked  KEYS[2] unacked_index  then the leases of each queue
-- ARGV[1] seconds a lease lasts  then for each delivery: number of its leases' key, tag
-- Returns the tags whose record is gone: someone else has the message now.

local now = tonumber(redis.call('TIME')[1])
local ends, lost = now + tonumber(ARGV[1]), {}
for i = 2, #ARGV, 2 do
  local leases, tag = KEYS[tonumber(ARGV[i])], ARGV[i + 1]
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    redis.call('ZADD', KEYS[2], 'XX', now, tag)
    redis.call('ZADD', leases, 'XX', ends, tag)
  else
    redis.call('ZREM', leases, tag)
    lost[#lost + 1] = tag
  end
end
return lost
