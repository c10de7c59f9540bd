#!lua flags=allow-oom
-- Moves parked messages that are due to the head of their queue. Any worker of the queue may do it.
-- KEYS[1] unacked  KEYS[2] unacked_index  then for each queue: its lists of steps 0, 3, 6 and 9, its parked messages
-- ARGV[1] how many at most for each queue  then for each queue: its name as JSON, the channel that wakes its workers
-- Returns how many were moved and in how many milliseconds the next one is due, or -1.
--include record

local unacked, index = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local moved, next_due = 0, -1
for queue = 1, (#ARGV - 1) / 2 do
  local base, name, wake = 2 + (queue - 1) * 5, ARGV[queue * 2], ARGV[queue * 2 + 1]
  local parked = KEYS[base + 5]
  local before = moved
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', parked, '-inf', now, 'LIMIT', 0, ARGV[1])) do
    local record = redis.call('HGET', unacked, tag)
    -- A record that is gone was restored by a Python worker's sweep, after eta and visibility timeout.
    local pushed = record and redis.pcall('RPUSH', KEYS[base + list_offset(tag)], from_record(record, name))
    if type(pushed) == 'table' then
      -- Its list is no list: kept, and tried again later, behind the others.
      redis.call('ZADD', parked, now + 60000, tag)
    else
      if record then
        redis.call('HDEL', unacked, tag)
        moved = moved + 1
      end
      redis.call('ZREM', index, tag)
      redis.call('ZREM', parked, tag)
    end
  end
  if moved > before then redis.pcall('PUBLISH', wake, '1') end
  local first = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')[2]
  if first and (next_due < 0 or tonumber(first) < next_due) then next_due = tonumber(first) end
end
return { moved, next_due < 0 and -1 or math.max(0, next_due - now) }
