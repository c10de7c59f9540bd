#!lua flags=allow-oom
-- Writes one field of a presence hash, also when Redis is full: that is when somebody has to see who is there.
-- KEYS[1] the hash
-- ARGV[1] the field  ARGV[2] its value  ARGV[3] seconds until the whole hash goes

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('EXPIRE', KEYS[1], ARGV[3])
