#!lua
-- Adds a scheduler's job, or puts it in the place of the one with its id, whose next slot stays while the trigger is the same:
-- another process may be moving it on.
-- KEYS[1] jobs  KEYS[2] triggers  KEYS[3] next slots
-- ARGV[1] job  ARGV[2] its record  ARGV[3] its trigger  ARGV[4] its next slot ('' for none)

local same = redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[3]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
if not same then redis.call('HSET', KEYS[3], ARGV[1], ARGV[4]) end
return 1
