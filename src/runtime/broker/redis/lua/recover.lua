#!lua flags=allow-oom
-- Gives back the messages whose lease has ended: their worker is gone. Counts the loss in the message.
-- KEYS[1] unacked  KEYS[2] unacked_index  then for each queue: its lists of steps 0, 3, 6 and 9, its leases
-- ARGV[1] how many at most for each queue  then each queue's name as JSON
-- Returns how many were given back.
--include record
--include redeliver

local unacked, index = KEYS[1], KEYS[2]
local now = redis.call('TIME')[1]
local recovered = 0
for queue = 1, #ARGV - 1 do
  local base, name = 2 + (queue - 1) * 5, ARGV[1 + queue]
  local leases = KEYS[base + 5]
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. now, 'LIMIT', 0, ARGV[1])) do
    local record = redis.call('HGET', unacked, tag)
    local pushed = record and redis.pcall('RPUSH', KEYS[base + list_offset(tag)], mark_lost(from_record(record, name)))
    if type(pushed) == 'table' then
      -- Its list is no list: kept, and tried again later, behind the others.
      redis.call('ZADD', leases, now + 60, tag)
    else
      if record then
        redis.call('HDEL', unacked, tag)
        recovered = recovered + 1
      end
      redis.call('ZREM', index, tag)
      redis.call('ZREM', leases, tag)
    end
  end
end
return recovered
