-- Store an order as the newest of its key.
--
-- KEYS[1]  hash: by key of an order '<ends at, in ms>|<stamp>|<order>', by Redis' clock;
--          under '~' its mark: '<epoch>:<revision>'
-- ARGV     key, order, milliseconds to keep it, the newest stamp that the caller knows,
--          an epoch in case there is none, how many orders there may be
-- returns  the stamp given; '' when there are too many

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local known = redis.call('HGET', KEYS[1], ARGV[1])
local stamp = math.max(now_us, ARGV[4] + 1)
if known then
  stamp = math.max(stamp, string.match(known, '^%d+|(%d+)|') + 1)
elseif redis.call('HLEN', KEYS[1]) > tonumber(ARGV[6]) then
  return ''
end

local ends_at = math.floor(now_us / 1000) + ARGV[3]
local text = string.format('%.0f', stamp)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f|%s|', ends_at, text) .. ARGV[2])

local mark = redis.call('HGET', KEYS[1], '~') or (ARGV[5] .. ':0')
local epoch, revision = string.match(mark, '^(.*):(%d+)$')
redis.call('HSET', KEYS[1], '~', epoch .. ':' .. string.format('%.0f', revision + 1))
-- Nothing stays behind when the last order is over.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return text
