#!lua flags=allow-oom
-- One task of a chord's header has ended. Compatible with Celery 5.7: the same keys, the same once-only rule, the same claim.
-- KEYS[1] parts (.j)  KEYS[2] extra tasks (.t)  KEYS[3] size (.s)  KEYS[4] parts counted (.d)  KEYS[5] claim (.c)
-- ARGV[1] the part as JSON  ARGV[2] its score, the place in the group  ARGV[3] its name for counting once: <task id>:<score>
-- ARGV[4] seconds the keys are kept  ARGV[5] seconds a claim lasts  ARGV[6] our claim
-- Returns parts so far, parts wanted (-1 unknown), and whether the claim to send the body is ours; or -1, 0, 0 when it was sent.

local parts, extra, size, counted, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if redis.call('GET', claim) == 'done' then return { -1, 0, 0 } end
if redis.call('SADD', counted, ARGV[3]) == 1 then redis.call('ZADD', parts, ARGV[2], ARGV[1]) end
for _, key in ipairs({ parts, extra, size, counted }) do redis.call('EXPIRE', key, ARGV[4]) end
local have = redis.call('ZCARD', parts)
local base = redis.call('GET', size)
if not base then return { have, -1, 0 } end
local want = tonumber(base) + tonumber(redis.call('GET', extra) or 0)
if have ~= want then return { have, want, 0 } end
local ours = redis.call('SET', claim, ARGV[6], 'NX', 'EX', ARGV[5])
return { have, want, ours and 1 or 0 }
