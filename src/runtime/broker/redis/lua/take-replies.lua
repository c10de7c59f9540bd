#!lua flags=allow-oom
-- Takes replies out of an inbox, but for those that are too large to be held by who asked.
-- KEYS[1] the inbox's list
-- ARGV[1] how many at most  ARGV[2] bytes of one  ARGV[3] bytes after which it stops
-- Returns the replies, the oldest first; an empty text for one that was too large.

local taken, bytes = {}, 0
for _ = 1, tonumber(ARGV[1]) do
  local reply = redis.call('RPOP', KEYS[1])
  if not reply then break end
  if #reply > tonumber(ARGV[2]) then reply = '' end
  taken[#taken + 1] = reply
  bytes = bytes + #reply
  if bytes >= tonumber(ARGV[3]) then break end
end
return taken
