#!lua
-- Stores a result and tells who waits for it. A SUCCESS is never overwritten.
-- KEYS[1] the result's key, which is also its channel
-- ARGV[1] seconds it is kept  ARGV[2] the result
-- Returns 1 when it was stored.

local old = redis.call('GETRANGE', KEYS[1], 0, 19)
if string.match(old, '^{"status": ?"SUCCESS"') then return 0 end
redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
redis.pcall('PUBLISH', KEYS[1], ARGV[2])
return 1
