-- Return the reports that have not expired, and forget the others.
--
-- KEYS[1]  hash, as report.lua keeps it
-- returns  the reports

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local flat = redis.call('HGETALL', KEYS[1])
local reports = {}
for place = 1, #flat, 2 do
  local expires_at, report = string.match(flat[place + 1], '^(%d+)|(.*)$')
  if tonumber(expires_at) > now then
    reports[#reports + 1] = report
  else
    redis.call('HDEL', KEYS[1], flat[place])
  end
end
return reports
