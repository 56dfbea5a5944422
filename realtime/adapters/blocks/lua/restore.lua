-- Store the orders that are newer than what is there.
--
-- KEYS[1]  hash, as put.lua keeps it
-- ARGV     an epoch in case there is none; then for each order its key, the order,
--          milliseconds to keep it, its stamp
-- returns  how many were stored

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored, longest = 0, 0
for place = 2, #ARGV, 4 do
  local key, order = ARGV[place], ARGV[place + 1]
  local ttl, stamp = tonumber(ARGV[place + 2]), ARGV[place + 3]
  local known = redis.call('HGET', KEYS[1], key)
  if not known or tonumber(string.match(known, '^%d+|(%d+)|')) < tonumber(stamp) then
    local head = string.format('%.0f|%s|', now + ttl, stamp)
    redis.call('HSET', KEYS[1], key, head .. order)
    stored = stored + 1
    longest = math.max(longest, ttl)
  end
end

if stored > 0 then
  local mark = redis.call('HGET', KEYS[1], '~') or (ARGV[1] .. ':0')
  local epoch, revision = string.match(mark, '^(.*):(%d+)$')
  redis.call('HSET', KEYS[1], '~', epoch .. ':' .. string.format('%.0f', revision + 1))
  if redis.call('PTTL', KEYS[1]) < longest then
    redis.call('PEXPIRE', KEYS[1], longest)
  end
end
return stored
