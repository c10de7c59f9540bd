#!lua flags=allow-oom
-- Takes messages: from the list into `unacked`, `unacked_index` and our own leases in one step, so that no SIGKILL loses one.
-- KEYS[1] unacked  KEYS[2] unacked_index  then for each queue: its lists of steps 0, 3, 6 and 9, its leases
-- ARGV[1] how many at most (<= 500)  ARGV[2] the process part of the tags  ARGV[3] number of the first tag
-- ARGV[4] seconds a lease lasts  ARGV[5] stop after so many bytes  then each queue's name as JSON
-- Returns the broker's milliseconds, the numbers of queues that could not be read (from 1, separated by commas), then for each
-- handful of messages: number of their queue, their step, the messages as they lay in their list: the last one is the first tag's.
--include record

local unacked, index = KEYS[1], KEYS[2]
local want, process, number = tonumber(ARGV[1]), ARGV[2] .. ':', tonumber(ARGV[3])
local limit, queues = tonumber(ARGV[5]), #ARGV - 5
local ENDINGS = { ':0', ':3', ':6', ':9' }
local STEPS = { '0', '3', '6', '9' }
local time = redis.call('TIME')
-- Scores are handed over as text: a number is printed anew for each message, which costs more than all else done with it.
local now, ends = time[1], string.format('%.0f', time[1] + ARGV[4])
local reply = { time[1] * 1000 + math.floor(time[2] / 1000), '' }
local taken, bytes = 0, 0
local broken, is_broken = {}, {}

-- The messages are read, recorded, and only then cut off the list: whatever raises on the way leaves them where they were.
local function take_chunk(queue, step, most)
  local base = 2 + (queue - 1) * 5
  local list, name = KEYS[base + step], ARGV[5 + queue]
  -- A key of another type must not cost the messages of other queues that are taken by now: their reply would be lost.
  local raws = redis.pcall('LRANGE', list, -most, -1)
  if raws.err then
    if not is_broken[queue] then broken[#broken + 1] = queue end
    is_broken[queue] = true
    return 0
  end
  local count = #raws
  if count == 0 then return 0 end
  local records, scores, leases, at, ending = {}, {}, {}, 1, ENDINGS[step]
  for i = count, 1, -1 do
    local raw, tag = raws[i], process .. number .. ending
    records[at], records[at + 1] = tag, to_record(raw, name)
    scores[at], scores[at + 1] = now, tag
    leases[at], leases[at + 1] = ends, tag
    at = at + 2
    bytes = bytes + #raw
    number = number + 1
  end
  local said = #reply
  reply[said + 1], reply[said + 2], reply[said + 3] = queue, STEPS[step], raws
  redis.call('HSET', unacked, unpack(records))
  redis.call('ZADD', index, unpack(scores))
  redis.call('ZADD', KEYS[base + 5], unpack(leases))
  redis.call('LTRIM', list, 0, -(count + 1))
  taken = taken + count
  return count
end

-- Small steps first: the size of the messages isn't known before they are read.
local function take_up_to(queue, step, most)
  local got, chunk = 0, 8
  while got < most and bytes < limit do
    local asked = math.min(most - got, chunk)
    local count = take_chunk(queue, step, asked)
    got = got + count
    if count < asked then break end
    chunk = math.max(1, math.min(100, math.floor((limit - bytes) / (bytes / taken))))
  end
  return got
end

-- Urgent before less urgent; within a step each queue gets its share first, then whatever is left.
for step = 1, 4 do
  local share = math.ceil((want - taken) / queues)
  local more = {}
  for queue = 1, queues do
    local most = math.min(share, want - taken)
    if most > 0 and take_up_to(queue, step, most) == most then more[#more + 1] = queue end
  end
  for _, queue in ipairs(more) do
    if taken < want then take_up_to(queue, step, want - taken) end
  end
  if taken >= want or bytes >= limit then break end
end
reply[2] = table.concat(broken, ',')
return reply
