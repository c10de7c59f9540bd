#!lua flags=allow-oom
-- Moves the next slot of a scheduler's job on, and records the runs of the slots that are due.
-- KEYS[1] next slots by job  KEYS[2] paused jobs  KEYS[3] runs  KEYS[4] when their claims end  KEYS[5] the runs of this job
-- ARGV[1] job  ARGV[2] its next slot as the caller knows it  ARGV[3] the one after ('' for none)  ARGV[4] runs at once, at most
-- ARGV[5] milliseconds their claims last, by this server's clock  then for each run: its id, the run
-- Returns how many of the runs are the caller's; -1 when another was here, or the job is paused or has changed.

local job = ARGV[1]
if redis.call('HGET', KEYS[1], job) ~= ARGV[2] or redis.call('SISMEMBER', KEYS[2], job) == 1 then return -1 end
redis.call('HSET', KEYS[1], job, ARGV[3])
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[5]
local room, ours = tonumber(ARGV[4]) - redis.call('SCARD', KEYS[5]), 0
for i = 6, #ARGV, 2 do
  if ours >= room then break end
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[4], ends, ARGV[i])
  redis.call('SADD', KEYS[5], ARGV[i])
  ours = ours + 1
end
return ours
