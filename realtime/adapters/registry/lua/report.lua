-- Keep a node's report until its time is over.
--
-- KEYS[1]  hash: by node, '<expires at, in ms of Redis' clock>|<report>'
-- ARGV     node, report, milliseconds to keep it

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = string.format('%.0f', now + ARGV[3]) .. '|' .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], value)
-- Nothing stays behind when the last node is gone.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
