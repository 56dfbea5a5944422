-- What every script of presence begins with: the keys of a channel, and the removal of
-- those whose time is over.
--
-- KEYS[1] is a hash tag; everything else of the channel has it in front:
--   :l         zset: node -> end of its lease, in ms of Redis' clock
--   :s         hash: node -> sum of the marks of its members
--   :m:<node>  zset, all scores 0: the node's members, ordered by user and client
--   :m:        the same: members that linger
--   :g         zset: member that lingers -> when that ends
--   :u         hash: user -> connections on all nodes, those that linger included
--   :o         list: members that have gone, and are not told yet
--   :e:<node>  there while the node's lease has ended and its members are not back
--   :r:<call>  what a call was answered, in case it is repeated
--
-- A member is '<user>\0<client>\0<mark>\0<info>', where the user begins with a 'u' and
-- is empty for members without one. redis.py describes the escaping.

local call = redis.call
local tag = KEYS[1]
local LEASES, SUMS, USERS = tag .. ':l', tag .. ':s', tag .. ':u'
local LINGERING, GONE = tag .. ':g', tag .. ':o'
local LINGERERS = tag .. ':m:'
local MOST = 1000 -- members removed, or told, by one call: it bounds how long Redis is busy
local KEEP_MS = 3 * 3600 * 1000 -- unused keys; no lease and no lingering is longer
local ENDED_MS = 3600 * 1000 -- how long a node may sleep and still be told as back
local REPEAT_MS = 15000 -- longer than a call is repeated

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function room_of(node)
  return LINGERERS .. node
end

local function user_of(member)
  return string.sub(member, 1, string.find(member, '\0', 1, true) - 1)
end

local function mark_of(member)
  local client = string.find(member, '\0', 1, true)
  local mark = string.find(member, '\0', client + 1, true)
  local info = string.find(member, '\0', mark + 1, true)
  return string.sub(member, mark + 1, info - 1)
end

local function keep(...)
  for _, key in ipairs({...}) do
    call('PEXPIRE', key, KEEP_MS)
  end
end

-- Count one connection less; say whether nobody is left.
local function uncount(member)
  local user = user_of(member)
  if user == '' then
    return true
  end
  if call('HINCRBY', USERS, user, -1) > 0 then
    return false
  end
  call('HDEL', USERS, user)
  return true
end

-- Members that have been removed: note who is gone by it.
local function drop(members)
  local gone = {}
  for _, member in ipairs(members) do
    if uncount(member) then
      gone[#gone + 1] = member
    end
  end
  if #gone > 0 then
    call('RPUSH', GONE, unpack(gone))
    keep(GONE)
  end
end

-- A node that has no members here needs no lease.
local function vacate(node)
  if call('EXISTS', room_of(node)) == 0 then
    call('ZREM', LEASES, node)
    call('HDEL', SUMS, node)
  end
end

-- Remove those whose time is over, at most MOST; say whether there may be more.
local function purge()
  local room = MOST
  for _, node in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now)) do
    local members = call('ZRANGE', room_of(node), 0, room - 1)
    if #members > 0 then
      call('SET', tag .. ':e:' .. node, '1', 'PX', ENDED_MS)
      call('ZREM', room_of(node), unpack(members))
      call('HDEL', SUMS, node)
      drop(members)
      room = room - #members
    end
    if room <= 0 then
      return true
    end
    vacate(node)
  end
  local over = call('ZRANGEBYSCORE', LINGERING, '-inf', now, 'LIMIT', 0, room)
  if #over > 0 then
    call('ZREM', LINGERING, unpack(over))
    call('ZREM', LINGERERS, unpack(over))
    drop(over)
  end
  return #over == room
end

-- The nodes whose members are there, and that of those that linger ('').
local function living()
  local nodes = call('ZRANGEBYSCORE', LEASES, '(' .. now, '+inf')
  nodes[#nodes + 1] = ''
  return nodes
end

-- What a call that returns who has gone, or is back, was answered before, if it is
-- repeated since its answer was lost: nothing is done twice, and nobody is forgotten.
local function answered(id)
  local reply = call('GET', tag .. ':r:' .. id)
  return reply and cmsgpack.unpack(reply)
end

local function remember(id, reply)
  call('SET', tag .. ':r:' .. id, cmsgpack.pack(reply), 'PX', REPEAT_MS)
end

-- Return {more, {gone...}, ...}; remember it if it cannot be found out again.
local function answer(id, more, matters, ...)
  local gone = {}
  if call('EXISTS', GONE) == 1 then
    gone = call('LPOP', GONE, MOST)
    more = more or call('EXISTS', GONE) == 1
    matters = true
  end
  local reply = {more and 1 or 0, gone, ...}
  if matters then
    remember(id, reply)
  end
  return reply
end
