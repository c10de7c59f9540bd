-- Dead letters: kept under the task's id, or under id~number when that is taken, so that none overwrites another.

local function forget(letters, messages, dead_index, keys)
  if #keys == 0 then return 0 end
  redis.call('HDEL', letters, unpack(keys))
  redis.call('HDEL', messages, unpack(keys))
  redis.call('ZREM', dead_index, unpack(keys))
  return #keys
end

-- Forgets the oldest letters beyond `most`, and those that died before `since`; a bound on how many in one call.
local function trim_dead(letters, messages, dead_index, counts, most, since)
  local batch = 500
  local old = redis.call('ZRANGEBYSCORE', dead_index, '-inf', '(' .. since, 'LIMIT', 0, batch)
  local gone = forget(letters, messages, dead_index, old)
  local over = redis.call('ZCARD', dead_index) - tonumber(most)
  if over > 0 then
    gone = gone + forget(letters, messages, dead_index, redis.call('ZRANGE', dead_index, 0, math.min(over, batch) - 1))
  end
  if gone > 0 then redis.call('HINCRBY', counts, 'forgotten', gone) end
end

local function dead_key(letters, counts, id)
  if redis.call('HEXISTS', letters, id) == 0 then return id end
  local key
  repeat key = id .. '~' .. redis.call('HINCRBY', counts, 'serial', 1) until redis.call('HEXISTS', letters, key) == 0
  return key
end
