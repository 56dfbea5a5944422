-- Return the members that are one user's.
--
-- ARGV     begin and end of the range
-- returns  {more to purge, {members...}}

local more = purge()
local found = {}
for _, node in ipairs(living()) do
  for _, member in ipairs(call('ZRANGEBYLEX', room_of(node), ARGV[1], ARGV[2])) do
    found[#found + 1] = member
  end
end
return {more and 1 or 0, found}
