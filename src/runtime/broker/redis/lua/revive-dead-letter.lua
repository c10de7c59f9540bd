#!lua
-- Publishes a dead letter's message again and removes the letter.
-- KEYS[1] letters  KEYS[2] messages  KEYS[3] index  KEYS[4] the list to publish to
-- ARGV[1] the letter's key  ARGV[2] the message  ARGV[3] the channel that wakes the queue's workers
-- Returns 1, or 0 when there is no such letter.

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[4], ARGV[2])
redis.pcall('PUBLISH', ARGV[3], '1')
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
