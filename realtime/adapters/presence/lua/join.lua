-- Add a member.
--
-- ARGV     call, node, '<user>\0', '<client>\0', '<mark>', '\0<info>', ms of the lease
-- returns  {more, {gone...}, 1 if it is the user's first, connections of the user}

local before = answered(ARGV[1])
if before then
  return before
end
local node, user, client, mark, info = unpack(ARGV, 2, 6)
local more = purge()
local room, name = room_of(node), string.sub(user, 1, -2)
local from, to = '[' .. user .. client, '(' .. user .. string.sub(client, 1, -2) .. '\1'
local known = call('ZRANGEBYLEX', room, from, to, 'LIMIT', 0, 1)[1]
local there = 0
if name ~= '' then
  there = tonumber(call('HGET', USERS, name) or '0')
end
local others = there
if known then
  others = there - 1
  call('ZREM', room, known)
else
  there = there + 1
  call('HINCRBY', SUMS, node, mark)
end
local lingered = {}
if name ~= '' then
  -- Hot: nobody lingers on most channels.
  if call('EXISTS', LINGERING) == 1 then
    lingered = call('ZRANGEBYLEX', LINGERERS, '[' .. user, '(' .. name .. '\1')
    for _, member in ipairs(lingered) do
      call('ZREM', LINGERERS, member)
      call('ZREM', LINGERING, member)
    end
  end
  there = there - #lingered
  call('HSET', USERS, name, there)
  keep(USERS)
end
call('ZADD', room, 0, user .. client .. mark .. info)
call('ZADD', LEASES, now + ARGV[7], node)
keep(room, LEASES, SUMS)
local first = name == '' or others <= 0
return answer(ARGV[1], more, #lingered > 0, first and 1 or 0, name == '' and 1 or there)
