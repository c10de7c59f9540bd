#!lua flags=allow-oom
-- Renews the claims of a scheduler's runs, by this server's clock.
-- KEYS[1] when claims end
-- ARGV[1] milliseconds they last  then the runs; those that are not there any more are left out
-- Returns how many runs were given.

local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ends, ARGV[i]) end
return #ARGV - 1
