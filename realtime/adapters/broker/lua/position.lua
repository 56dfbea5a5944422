-- The position of a channel, which the other scripts here begin with. The hash meta:
--   e, o   epoch and offset of the newest publication
--   r      the server's replication id when e began
--   l      how e came about: earlier epochs with the offset up to which they hold
--   v, w   the greatest version and its epoch

-- What changes when another server takes over, or the same comes back: only then can
-- publications have been lost, and their offsets be given out a second time.
local function incarnation()
  local ok, info = pcall(redis.call, 'INFO', 'replication')
  return ok and string.match(info, 'master_replid:(%x+)') or ''
end

-- Make the channel's first position under the epoch given, for nothing of it is known.
local function begin(meta, stream, epoch)
  redis.call('UNLINK', stream)
  redis.call('HSET', meta, 'e', epoch, 'o', 0, 'r', incarnation())
end

local function whole(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end
