#!lua flags=allow-oom
-- Forgets cursors of schedules that are gone, while the caller holds the lease: one that was stopped meanwhile must not take away
-- what another beat has written.
-- KEYS[1] the lease  KEYS[2] cursors  KEYS[3] the newest missed slots
-- ARGV[1] <token>:<holder>  then schedules
-- Returns 1 done, 0 the lease is another's.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i])
end
return 1
