-- Make the members of a node in one range exactly those that are given.
--
-- ARGV     call, node, ms of the lease, begin and end of the range, '1' if it is the last
--          one, members...
-- returns  those that had gone with the node's lease, and are there again

local before = answered(ARGV[1])
if before then
  return before
end
local node, lease_ms, from, to, last = unpack(ARGV, 2, 6)
local room, ended = room_of(node), tag .. ':e:' .. node
local was_told = call('EXISTS', ended) == 1
local wanted, back = {}, {}
for place = 7, #ARGV do
  wanted[ARGV[place]] = true
end
for _, member in ipairs(call('ZRANGEBYLEX', room, from, to)) do
  if wanted[member] then
    wanted[member] = nil
  else
    call('ZREM', room, member)
    call('HINCRBY', SUMS, node, '-' .. mark_of(member))
    uncount(member)
  end
end
for place = 7, #ARGV do
  local member = ARGV[place]
  if wanted[member] then
    local user = user_of(member)
    call('ZADD', room, 0, member)
    call('HINCRBY', SUMS, node, mark_of(member))
    -- Who lingers is counted already: it has left, and its node has not heard so.
    if call('ZREM', LINGERERS, member) == 1 then
      call('ZREM', LINGERING, member)
    elseif (user == '' or call('HINCRBY', USERS, user, 1) == 1) and was_told then
      back[#back + 1] = member
    end
  end
end
call('ZADD', LEASES, now + lease_ms, node)
if last == '1' then
  call('DEL', ended)
end
keep(room, LEASES, SUMS, USERS)
vacate(node)
if #back > 0 then
  remember(ARGV[1], back)
end
return back
