#!lua flags=allow-oom
-- A consumer connects: names its queues, so that readers find their leases, and gives back what is leased to this process and
-- isn't in its hands, because the reply to a take was lost.
-- KEYS[1] unacked  KEYS[2] unacked_index  then for each queue: its lists of steps 0, 3, 6 and 9, its leases  then the set of queues
-- ARGV[1] number of queues  ARGV[2] the process part of the tags  then each queue's name, then each name as JSON, then the tags that are held
-- Returns how many were given back.
--include record

local unacked, index = KEYS[1], KEYS[2]
local queues, prefix = tonumber(ARGV[1]), ARGV[2] .. ':'
local held = {}
for i = 3 + 2 * queues, #ARGV do held[ARGV[i]] = true end
local reclaimed = 0
for queue = 1, queues do redis.call('SADD', KEYS[#KEYS], ARGV[2 + queue]) end
for queue = 1, queues do
  local base, name = 2 + (queue - 1) * 5, ARGV[2 + queues + queue]
  local leases = KEYS[base + 5]
  for _, tag in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    if string.sub(tag, 1, #prefix) == prefix and not held[tag] then
      local record = redis.call('HGET', unacked, tag)
      local pushed = record and redis.pcall('RPUSH', KEYS[base + list_offset(tag)], from_record(record, name))
      -- What its list does not take is left to recover.lua.
      if type(pushed) ~= 'table' then
        if record then
          redis.call('HDEL', unacked, tag)
          reclaimed = reclaimed + 1
        end
        redis.call('ZREM', index, tag)
        redis.call('ZREM', leases, tag)
      end
    end
  end
end
return reclaimed
