-- Return about so many orders, and forget those among them whose time is over.
--
-- KEYS[1]  hash, as put.lua keeps it
-- ARGV     cursor ('0' for the first page), how many
-- returns  {next cursor ('0': that was all), '<stamp>|<order>', ...}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local flat, found = page[2], {page[1]}
for place = 1, #flat, 2 do
  if flat[place] ~= '~' then
    local ends_at, order = string.match(flat[place + 1], '^(%d+)|(.*)$')
    if tonumber(ends_at) > now then
      found[#found + 1] = order
    else
      redis.call('HDEL', KEYS[1], flat[place])
    end
  end
end
return found
