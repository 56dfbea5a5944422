-- Renew a node's lease, if it has members.
--
-- ARGV     call, node, sum of its members' marks, ms of the lease
-- returns  {more, {gone...}, 1 if the sum is right}

local before = answered(ARGV[1])
if before then
  return before
end
local node = ARGV[2]
local more = purge()
local sum = call('HGET', SUMS, node)
if sum then
  call('ZADD', LEASES, now + ARGV[4], node)
  keep(room_of(node), LEASES, SUMS, USERS)
end
return answer(ARGV[1], more, false, (sum or '0') == ARGV[3] and 1 or 0)
