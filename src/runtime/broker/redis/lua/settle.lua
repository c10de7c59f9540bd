#!lua flags=allow-oom
-- Settles deliveries. Each outcome happens as a whole, and only while its tag is still in `unacked`: a stale worker's finds nothing.
-- KEYS[1] unacked  KEYS[2] unacked_index  then whatever keys the outcomes name by number
-- ARGV for each outcome: tag ('' for a delivery that was acknowledged early), number of the leases' key, the queue's name as JSON,
--   how many actions, then the actions:
--   P list raw channel            publish
--   K parked tag due record       park another message until due (milliseconds)
--   R key ttl json                store a result; SUCCESS is never overwritten
--   D letters messages index id second letter raw   keep the message itself (raw when it was acknowledged early) as a dead letter
--   G list begun                  give the message back to the head of its list; begun = 1 marks it as redelivered
--   W parked tag due              park the message itself under a new tag until due
-- Returns one character an outcome: 1 done, 0 the lease was lost, e an action was refused and the record was left as it is.
--include record
--include redeliver

local unacked, index = KEYS[1], KEYS[2]
local at = 1
local function arg()
  local value = ARGV[at]
  at = at + 1
  return value
end
local function key() return KEYS[tonumber(arg())] end

local function park(parked, tag, due, record)
  redis.call('HSET', unacked, tag, record)
  -- kombu's sweep ignores scores in the future; whole seconds, rounded up, keep a small sorted set cheap.
  redis.call('ZADD', index, math.ceil(tonumber(due) / 1000), tag)
  redis.call('ZADD', parked, due, tag)
end

local function store_result(name, ttl, json)
  local old = redis.call('GETRANGE', name, 0, 19)
  if string.match(old, '^{"status": ?"SUCCESS"') then return end
  redis.call('SETEX', name, ttl, json)
  redis.call('PUBLISH', name, json)
end

local actions = {
  P = function() return 3, function(a) redis.call('LPUSH', KEYS[tonumber(a[1])], a[2]) redis.call('PUBLISH', a[3], '1') end end,
  K = function() return 4, function(a) park(KEYS[tonumber(a[1])], a[2], a[3], a[4]) end end,
  R = function() return 3, function(a) store_result(KEYS[tonumber(a[1])], a[2], a[3]) end end,
  D = function() return 7, function(a, record, name)
    redis.call('HSET', KEYS[tonumber(a[1])], a[4], a[6])
    redis.call('HSET', KEYS[tonumber(a[2])], a[4], record and from_record(record, name) or a[7])
    redis.call('ZADD', KEYS[tonumber(a[3])], a[5], a[4])
  end end,
  G = function() return 2, function(a, record, name)
    local raw = from_record(record, name)
    redis.call('RPUSH', KEYS[tonumber(a[1])], a[2] == '1' and mark_redelivered(raw) or raw)
  end end,
  W = function() return 3, function(a, record) park(KEYS[tonumber(a[1])], a[2], a[3], record) end end,
}

local replies, removed, removed_leases = {}, {}, {}
while at <= #ARGV do
  local tag, leases, name, count = arg(), tonumber(arg()), arg(), tonumber(arg())
  local steps = {}
  for i = 1, count do
    local size, run = actions[arg()]()
    local a = {}
    for j = 1, size do a[j] = arg() end
    steps[i] = { run, a }
  end
  local outcome
  if tag == '' then
    outcome = '1'
  elseif count == 0 then
    outcome = redis.call('HDEL', unacked, tag) == 1 and '1' or '0'
  else
    outcome = redis.call('HEXISTS', unacked, tag) == 1 and '1' or '0'
  end
  if outcome == '1' and count > 0 then
    local record = tag ~= '' and redis.call('HGET', unacked, tag) or nil
    for _, step in ipairs(steps) do
      -- A list that is no list must not take the other outcomes of the batch with it.
      local fine = pcall(step[1], step[2], record, name)
      if not fine then outcome = 'e' break end
    end
    if outcome == '1' and tag ~= '' then redis.call('HDEL', unacked, tag) end
  end
  if tag ~= '' and outcome ~= 'e' then
    removed[#removed + 1] = tag
    local list = removed_leases[leases]
    if not list then
      list = {}
      removed_leases[leases] = list
    end
    list[#list + 1] = tag
  end
  replies[#replies + 1] = outcome
end
if #removed > 0 then
  redis.call('ZREM', index, unpack(removed))
  for leases, tags in pairs(removed_leases) do redis.call('ZREM', KEYS[leases], unpack(tags)) end
end
return table.concat(replies)
