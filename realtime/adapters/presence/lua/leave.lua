-- Remove a member, or let it linger.
--
-- ARGV     call, node, '<user>\0', '<client>\0', ms to linger
-- returns  {more, {gone...}, 1 if it was there, lingers, or has gone with the lease}

local before = answered(ARGV[1])
if before then
  return before
end
local node, user, client, linger_ms = unpack(ARGV, 2, 5)
local more = purge()
local room = room_of(node)
local from, to = '[' .. user .. client, '(' .. user .. string.sub(client, 1, -2) .. '\1'
local member = call('ZRANGEBYLEX', room, from, to, 'LIMIT', 0, 1)[1]
if member then
  call('ZREM', room, member)
  call('HINCRBY', SUMS, node, '-' .. mark_of(member))
  if user ~= '\0' and tonumber(linger_ms) > 0 then
    call('ZADD', LINGERERS, 0, member)
    call('ZADD', LINGERING, now + linger_ms, member)
    keep(LINGERERS, LINGERING, USERS)
  else
    drop({member})
  end
  vacate(node)
end
local known = member
  or call('EXISTS', tag .. ':e:' .. node) == 1
  or #call('ZRANGEBYLEX', LINGERERS, from, to, 'LIMIT', 0, 1) > 0
return answer(ARGV[1], more, false, known and 1 or 0)
