-- Read the oldest notices, if nobody else delivers; from now on, nobody else does.
-- KEYS: the stream, the lease. ARGV: who asks, the lease in ms, how many at most.
-- Returns false if somebody else holds the lease.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  return false
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[3])
