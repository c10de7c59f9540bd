#!lua
-- One slot of a schedule: checks the fencing token, moves the cursor by compare-and-set, publishes. Repeating it after a
-- lost reply finds the cursor moved and publishes nothing.
-- KEYS[1] the lease  KEYS[2] cursors  KEYS[3] the newest missed slots  then the lists to publish to
-- ARGV[1] <token>:<holder>  ARGV[2] schedule  ARGV[3] the slot the cursor stands at, '' for none  ARGV[4] the slot it moves to
-- ARGV[5] slots missed on the way  ARGV[6] the newest of them, the oldest first, with commas between  ARGV[7] fingerprint of the trigger
-- then for each message: number of its list's key, the message, the channel that wakes its workers
-- A cursor is the text `<slot> <fired at> <runs> <missed> <fingerprint>`; fired at is 0 before the first run.
-- Returns 1 done, 0 someone moved the cursor before, -1 the lease is another's, -2 the slot is still to come on this server's clock.

-- How far a beat's estimate of this clock may be ahead, in milliseconds.
local AHEAD = 1000
-- Missed slots that are kept of each schedule.
local KEPT = 10

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local cursor = redis.call('HGET', KEYS[2], ARGV[2])
local slot, fired, runs, missed = '', '0', 0, 0
local a, b, c, d = string.match(cursor or '', '^(%-?%d+%.?%d*) (%d+) (%d+) (%d+) ')
if a then slot, fired, runs, missed = a, b, c, d end
if slot ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if tonumber(ARGV[4]) > now + AHEAD then return -2 end
-- Read before anything is written: a key of another type ends the script here, and not between message and cursor.
local known = ARGV[6] ~= '' and redis.call('HGET', KEYS[3], ARGV[2]) or nil
local messages = (#ARGV - 7) / 3
if messages > 0 then fired = string.format('%.0f', now) end
local function text(to, at, n, m, fingerprint)
  return table.concat({ to, at, string.format('%.0f', n), string.format('%.0f', m), fingerprint }, ' ')
end
-- The cursor first: should this server refuse that, nothing is published. Should it refuse the message, the cursor goes back.
redis.call('HSET', KEYS[2], ARGV[2], text(ARGV[4], fired, runs + messages, missed + ARGV[5], ARGV[7]))
for i = 8, #ARGV, 3 do
  local pushed = redis.pcall('LPUSH', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
  if type(pushed) == 'table' and pushed.err then
    redis.call('HSET', KEYS[2], ARGV[2], cursor or '')
    return pushed
  end
  redis.pcall('PUBLISH', ARGV[i + 2], '1')
end
if ARGV[6] ~= '' then
  local kept = {}
  for one in string.gmatch((known and known .. ',' or '') .. ARGV[6], '[^,]+') do kept[#kept + 1] = one end
  redis.call('HSET', KEYS[3], ARGV[2], table.concat(kept, ',', math.max(1, #kept - KEPT + 1)))
end
return 1
