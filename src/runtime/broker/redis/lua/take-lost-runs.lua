#!lua flags=allow-oom
-- Takes over the runs of a scheduler whose claim has ended: their process was lost.
-- KEYS[1] runs  KEYS[2] when their claims end
-- ARGV[1] milliseconds the new claim lasts, by this server's clock
-- Returns the runs.

local time = redis.call('TIME')
local now, lost = time[1] * 1000 + math.floor(time[2] / 1000), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZADD', KEYS[2], now + ARGV[1], id)
  lost[#lost + 1] = redis.call('HGET', KEYS[1], id)
end
return lost
