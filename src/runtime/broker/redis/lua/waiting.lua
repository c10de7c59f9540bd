#!lua flags=allow-oom,no-writes
-- Which of some messages lie among the oldest ones of a queue. They are searched here: to be searched by who asks they would have to
-- be sent there.
-- KEYS the queue's lists
-- ARGV[1] messages of each list that are searched  ARGV[2] bytes after which it stops  then the ids
-- Returns 1 when not everything was searched, else 0, and the ids that were found.

local most, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local CHUNK = 20
local cut, found, wanted, missing = 0, {}, {}, #ARGV - 2
for i = 3, #ARGV do wanted[ARGV[i]] = true end

local function look(message)
  -- Only its own id: the tasks that it called carry the same as root_id. Python puts a space after the colon.
  for id in message:gmatch('"id": ?"([%x%-]+)"') do
    if wanted[id] then
      wanted[id] = nil
      found[#found + 1] = id
      missing = missing - 1
    end
  end
  left = left - #message
end

for _, list in ipairs(KEYS) do
  local length = redis.call('LLEN', list)
  if length > most then cut = 1 end
  for last = 1, math.min(length, most), CHUNK do
    if missing == 0 then break end
    if left <= 0 then
      cut = 1
      break
    end
    local from = math.min(last + CHUNK - 1, most)
    for _, message in ipairs(redis.call('LRANGE', list, -from, -last)) do look(message) end
  end
end
local reply = { cut }
for _, id in ipairs(found) do reply[#reply + 1] = id end
return reply
