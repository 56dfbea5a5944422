-- Send a publication without a position, unless its idempotency key was seen.
-- KEYS: what remembers the key. ARGV: verb, channel, message; ttl of the key in ms, and
-- what tells this call from others with the same key.
-- Returns {}; or {'duplicate', what remembers}.
local first = redis.call('GET', KEYS[1])
if first then return {'duplicate', first} end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[4])
redis.call(ARGV[1], ARGV[2], ARGV[3])
return {}
