-- Return the next members of every node; the page is the first of them all.
--
-- ARGV     begin of the range, how many
-- returns  {more to purge, {members...}}

local more = purge()
local found = {}
for _, node in ipairs(living()) do
  local part = call('ZRANGEBYLEX', room_of(node), ARGV[1], '+', 'LIMIT', 0, ARGV[2])
  for _, member in ipairs(part) do
    found[#found + 1] = member
  end
end
return {more and 1 or 0, found}
