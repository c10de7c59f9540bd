#!lua
-- Publishes a message unless another one holds its name.
-- KEYS[1] the name's key  KEYS[2] the list to publish to
-- ARGV[1] the message's id  ARGV[2] milliseconds that the name is held at most  ARGV[3] the message
-- ARGV[4] the channel that wakes the queue's workers
-- Returns the id of the message that holds the name. A repetition after a lost reply finds its own id, and publishes nothing.

local holder = redis.call('GET', KEYS[1])
if holder then return holder end
-- First: the list may be no list, and then nothing is held.
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.pcall('PUBLISH', ARGV[4], '1')
return ARGV[1]
