#!lua flags=allow-oom,no-writes
-- Counts what waits, is in flight and is parked, for several queues at one moment.
-- KEYS[1] unacked  then for each queue: its lists of steps 0, 3, 6 and 9, its leases, its parked messages
-- Returns the number of records in unacked, then for each queue: waiting, in flight, parked.

local function count(command, key)
  local reply = redis.pcall(command, key)
  return type(reply) == 'number' and reply or 0
end

local reply = { count('HLEN', KEYS[1]) }
for base = 2, #KEYS, 6 do
  local waiting = 0
  for i = base, base + 3 do waiting = waiting + count('LLEN', KEYS[i]) end
  reply[#reply + 1] = waiting
  reply[#reply + 1] = count('ZCARD', KEYS[base + 4])
  reply[#reply + 1] = count('ZCARD', KEYS[base + 5])
end
return reply
