#!lua flags=allow-oom
-- Takes a lease that is free, renews one that is ours. The token grows with every change of the holder and outlives the lease.
-- KEYS[1] the lease  KEYS[2] its token
-- ARGV[1] holder  ARGV[2] milliseconds it lasts
-- Returns 1 or 0 (held by us or not), the token, the holder.

local current = redis.call('GET', KEYS[1])
if not current then
  local token = redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[2])
  return { 1, token, ARGV[1] }
end
local token, holder = string.match(current, '^(%d+):(.*)$')
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return { 1, tonumber(token), holder }
end
return { 0, tonumber(token or 0), holder or current }
