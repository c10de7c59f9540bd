#!lua flags=allow-oom
-- Settles deliveries. Each outcome happens as a whole, and only while its tag is still in `unacked`: a stale worker's finds nothing.
-- KEYS[1] unacked  KEYS[2] unacked_index  then whatever keys the outcomes name by number
-- ARGV[1] how many handfuls of tasks that are done, and nothing else; for each the number of the leases' key, how many, their tags.
-- Then how many handfuls of tasks that are done and leave a result, and nothing else; for each the number of the leases' key, how many, and
--   for each its tag, the number of the result's key, ttl, json.
-- Then for each other outcome: tag ('' for a delivery that was acknowledged early), number of the leases' key, the queue's name as
--   JSON, how many actions, then the actions:
--   P list raw channel            publish
--   K parked tag due record       park another message until due (milliseconds)
--   R key ttl json                store a result; SUCCESS is never overwritten
--   D letters messages index counts id second letter raw most seconds   keep the message itself (raw when it was acknowledged early)
--                                 as a dead letter, of `most` at most, for so many seconds
--   G list begun                  give the message back to the head of its list; begun = 1 marks it as redelivered
--   W parked tag due              park the message itself under a new tag until due
--   O key ttl                     only once: what is fenced by no tag is fenced by this key
--   S size claim ttl number shape json   a chord begins to count: so many tasks, whose values have a shape ('' for a plain list)
--   U key id                      ends the uniqueness of a task, while it is this one's
--   C claim parts extra size counted token ttl n   a chord is done; the next n actions are its body's, left out when the claim is lost
-- Returns one character an outcome: 1 done, 0 the lease was lost or it was done before, r done but for its result, which was
--   refused, e an action was refused and nothing was done, p one was refused after another was done: what is left of it is lost.

local unacked, index = KEYS[1], KEYS[2]
local replies, at = {}, 2

-- One command for all: a call of its own for each costs more than what it does. Only when not all were there is each looked at.
for _ = 1, tonumber(ARGV[1]) do
  local leases, count = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1])
  local first, last = at + 2, at + 1 + count
  if redis.call('HDEL', unacked, unpack(ARGV, first, last)) == count then
    replies[#replies + 1] = string.rep('1', count)
    redis.call('ZREM', index, unpack(ARGV, first, last))
  else
    -- A tag is in both or in neither.
    for i = first, last do replies[#replies + 1] = redis.call('ZREM', index, ARGV[i]) end
  end
  redis.call('ZREM', leases, unpack(ARGV, first, last))
  at = last + 1
end
-- What follows is made anew at each call, so none of it before it is needed.
if at > #ARGV then return table.concat(replies) end

-- A wake-up or a notice that can't be sent (an ACL without channels) must not undo what was done.
local function notify(channel, text) redis.pcall('PUBLISH', channel, text) end

local function failed(reply) return type(reply) == 'table' and reply.err ~= nil end

local function store_result(name, ttl, json)
  local stored = redis.pcall('SET', name, json, 'EX', ttl, 'NX')
  if failed(stored) then return false end
  if not stored then
    local old = redis.pcall('GETRANGE', name, 0, 19)
    if failed(old) then return false end
    if string.match(old, '^{"status": ?"SUCCESS"') then return true end
    if failed(redis.pcall('SETEX', name, ttl, json)) then return false end
  end
  notify(name, json)
  return true
end

-- As above: the records of all at once. A result that is refused undoes nothing: its message need not be kept until that is known.
at = at + 1
for _ = 1, tonumber(ARGV[at - 1]) do
  local leases, count = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1])
  local tags = {}
  at = at + 2
  for i = 1, count do tags[i] = ARGV[at + (i - 1) * 4] end
  local all = redis.call('HDEL', unacked, unpack(tags)) == count
  if all then redis.call('ZREM', index, unpack(tags)) end
  for i = 1, count do
    local outcome = '0'
    if all or redis.call('ZREM', index, tags[i]) == 1 then
      outcome = store_result(KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]) and '1' or 'r'
    end
    replies[#replies + 1] = outcome
    at = at + 4
  end
  redis.call('ZREM', leases, unpack(tags))
end
if at > #ARGV then return table.concat(replies) end
--include record
--include redeliver
--include dead

local function arg()
  local value = ARGV[at]
  at = at + 1
  return value
end

local function park(parked, tag, due, record)
  redis.call('HSET', unacked, tag, record)
  -- kombu's sweep ignores scores in the future; whole seconds, rounded up, keep a small sorted set cheap.
  redis.call('ZADD', index, math.ceil(tonumber(due) / 1000), tag)
  redis.call('ZADD', parked, due, tag)
end

-- For each action: how many arguments, whether its keys can take it (asked before anything is done), and the doing.
local function can(command, number)
  if command == 'GETRANGE' then return not failed(redis.pcall(command, KEYS[tonumber(number)], 0, 0)) end
  return not failed(redis.pcall(command, KEYS[tonumber(number)]))
end
local function can_park(number) return can('ZCARD', number) and not failed(redis.pcall('ZCARD', index)) end
local actions = {
  P = { 3, function(a) return can('LLEN', a[1]) end, function(a)
    redis.call('LPUSH', KEYS[tonumber(a[1])], a[2])
    notify(a[3], '1')
  end },
  K = { 4, function(a) return can_park(a[1]) end, function(a) park(KEYS[tonumber(a[1])], a[2], a[3], a[4]) end },
  R = { 3 },
  D = { 10, function(a)
    return can('HLEN', a[1]) and can('HLEN', a[2]) and can('ZCARD', a[3]) and can('HLEN', a[4])
  end, function(a, record, name)
    local letters, messages, dead_index, counts =
      KEYS[tonumber(a[1])], KEYS[tonumber(a[2])], KEYS[tonumber(a[3])], KEYS[tonumber(a[4])]
    local dead = dead_key(letters, counts, a[5])
    redis.call('HSET', letters, dead, a[7])
    redis.call('HSET', messages, dead, record and from_record(record, name) or a[8])
    redis.call('ZADD', dead_index, a[6], dead)
    trim_dead(letters, messages, dead_index, counts, a[9], tonumber(a[6]) - tonumber(a[10]))
  end },
  G = { 2, function(a) return can('LLEN', a[1]) end, function(a, record, name)
    local raw = from_record(record, name)
    redis.call('RPUSH', KEYS[tonumber(a[1])], a[2] == '1' and mark_redelivered(raw) or raw)
  end },
  W = { 3, function(a) return can_park(a[1]) end, function(a, record) park(KEYS[tonumber(a[1])], a[2], a[3], record) end },
  S = { 6, function(a) return can('GETRANGE', a[1]) end, function(a)
    redis.call('DEL', KEYS[tonumber(a[2])])
    redis.call('SET', KEYS[tonumber(a[1])], a[4], 'EX', a[3])
    if a[6] ~= '' then redis.call('SET', KEYS[tonumber(a[5])], a[6], 'EX', a[3]) end
  end },
  U = { 2, function(a) return can('GETRANGE', a[1]) end, function(a)
    if redis.call('GET', KEYS[tonumber(a[1])]) == a[2] then redis.call('DEL', KEYS[tonumber(a[1])]) end
  end },
  C = { 8 },
  O = { 2, function(a) return redis.call('EXISTS', KEYS[tonumber(a[1])]) == 0 end, function(a)
    redis.call('SET', KEYS[tonumber(a[1])], '1', 'EX', a[2])
  end },
}

-- Ends a chord whose claim is ours; returns how many of the actions behind it are to be left out.
local function end_chord(a)
  local claim = KEYS[tonumber(a[1])]
  if redis.call('GET', claim) ~= a[6] then return tonumber(a[8]) end
  for i = 2, 5 do redis.call('DEL', KEYS[tonumber(a[i])]) end
  redis.call('SET', claim, 'done', 'EX', a[7])
  return 0
end

-- Does the steps of one outcome; its record is still there. Returns its character.
local function perform(steps, record, name)
  for _, step in ipairs(steps) do
    local kind, action, a = step[1], step[2], step[3]
    if action[2] and not action[2](a) then return kind == 'O' and '0' or 'e' end
  end
  local outcome, done, leave_out = '1', false, 0
  for _, step in ipairs(steps) do
    local kind, action, a = step[1], step[2], step[3]
    if leave_out > 0 then
      leave_out = leave_out - 1
    elseif kind == 'C' then
      leave_out = end_chord(a)
    elseif kind == 'R' then
      if not store_result(KEYS[tonumber(a[1])], a[2], a[3]) then outcome = 'r' end
    elseif pcall(action[3], a, record, name) then
      done = done or (kind ~= 'O' and kind ~= 'U')
    else
      return done and 'p' or 'e'
    end
  end
  return outcome
end

local removed, removed_leases = {}, {}
while at <= #ARGV do
  local tag, leases, name, count = arg(), tonumber(arg()), arg(), tonumber(arg())
  local steps, needs_record = {}, false
  for i = 1, count do
    local kind = arg()
    local action, a = actions[kind], {}
    needs_record = needs_record or kind == 'D' or kind == 'G' or kind == 'W'
    for j = 1, action[1] do a[j] = arg() end
    steps[i] = { kind, action, a }
  end
  local outcome = '1'
  if tag ~= '' then outcome = tostring(redis.call('HEXISTS', unacked, tag)) end
  if outcome == '1' and count > 0 then
    local record = needs_record and tag ~= '' and redis.call('HGET', unacked, tag) or nil
    outcome = perform(steps, record, name)
    if outcome ~= 'e' and tag ~= '' then redis.call('HDEL', unacked, tag) end
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
