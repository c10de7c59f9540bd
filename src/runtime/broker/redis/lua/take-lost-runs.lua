#!lua flags=allow-oom
-- Takes over the runs of a scheduler whose claim has ended: their process was lost.
-- KEYS[1] runs  KEYS[2] when their claims end
-- ARGV[1] now  ARGV[2] when the new claim ends  (milliseconds)
-- Returns the runs.

local lost = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 100)) do
  redis.call('ZADD', KEYS[2], ARGV[2], id)
  lost[#lost + 1] = redis.call('HGET', KEYS[1], id)
end
return lost
