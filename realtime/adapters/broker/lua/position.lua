-- The position of a channel, which the other scripts here begin with. The hash meta:
--   e, o   epoch and offset of the newest publication
--   r      the replication id of the server that gave it out
--   l      offsets that were left out, as last=next,last=next ... newest first
--   v, w   the greatest version and its epoch

-- What changes when another server takes over, or the same one comes back: then the end
-- of the history may have been lost, although somebody has been told its offsets.
local function incarnation()
  local ok, info = pcall(redis.call, 'INFO', 'replication')
  return ok and string.match(info, 'master_replid:(%x+)') or ''
end

-- Make the channel's first position under the epoch given, for nothing of it is known.
local function begin(meta, stream, epoch, ttl)
  redis.call('UNLINK', stream)
  redis.call('HSET', meta, 'e', epoch, 'o', 0, 'r', incarnation())
  redis.call('PEXPIRE', meta, ttl)
end

local function whole(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end
