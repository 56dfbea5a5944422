-- Count connections and users.
--
-- returns  {more to purge, connections, users}

local more = purge()
local clients = 0
for _, node in ipairs(living()) do
  clients = clients + call('ZCARD', room_of(node))
end
return {more and 1 or 0, clients, call('HLEN', USERS)}
