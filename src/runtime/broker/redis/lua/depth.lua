#!lua flags=allow-oom,no-writes
-- Counts what waits, is in flight and is parked, for several queues at one moment; and the records that are none of our workers'.
-- KEYS[1] unacked  KEYS[2] the queues that ours use  then for each queue: its lists of steps 0, 3, 6 and 9, its leases, its parked messages
-- ARGV[1] what the name of a queue's leases begins with  ARGV[2] that of its parked messages  then the queues, as in KEYS
-- Returns the number of foreign records in unacked, then for each queue: waiting, in flight, parked.
-- The names of other queues' keys are made here: sent by every reader, they would be most of what Redis has to read.

local function count(command, key)
  local reply = redis.pcall(command, key)
  return type(reply) == 'number' and reply or 0
end

local reply = { 0 }
local foreign = count('HLEN', KEYS[1])
local counted = {}
for i = 1, #ARGV - 2 do
  local base = 6 * i - 3
  local waiting = 0
  for at = base, base + 3 do waiting = waiting + count('LLEN', KEYS[at]) end
  local in_flight = count('ZCARD', KEYS[base + 4])
  local parked = count('ZCARD', KEYS[base + 5])
  reply[#reply + 1] = waiting
  reply[#reply + 1] = in_flight
  reply[#reply + 1] = parked
  foreign = foreign - in_flight - parked
  counted[ARGV[i + 2]] = true
end
if foreign > 0 then
  local others = redis.pcall('SMEMBERS', KEYS[2])
  for _, queue in ipairs(others.err and {} or others) do
    if not counted[queue] then
      foreign = foreign - count('ZCARD', ARGV[1] .. queue) - count('ZCARD', ARGV[2] .. queue)
    end
  end
end
reply[1] = math.max(0, foreign)
return reply
