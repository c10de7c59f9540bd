#!lua flags=allow-oom
-- Gives a lease up, if it is still ours.
-- KEYS[1] the lease
-- ARGV[1] holder
-- Returns 1 when it was ours.

local current = redis.call('GET', KEYS[1])
if current and string.match(current, '^%d+:(.*)$') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
