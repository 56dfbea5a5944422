-- Number a publication, keep it and send it: one step, so the order of the history is
-- the order on the wire.
-- KEYS: meta, stream; with an idempotency key, also what remembers it.
-- ARGV: verb and channel to send by; head, data and tail of the wire form, which has
--   offset and epoch between data and tail; an epoch that was never used; size, ttl in
--   ms, ttl of meta in ms; version or '', its epoch; ttl of the idempotency key in ms,
--   and what tells this call from others with the same key.
-- Returns {offset, epoch}; or {'duplicate', what remembers}, {'stale'}.
local meta, stream, seen = KEYS[1], KEYS[2], KEYS[3]
local verb, channel, head, data, tail = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local fresh, size, ttl, meta_ttl = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local version, version_epoch = ARGV[10], ARGV[11]

-- More than a server can have given out on one channel without its replica having them.
local LEFT_OUT = 1000000

-- Versions have up to 64 bits, numbers here only 53: compared as they are written.
local function greater(one, other)
  if #one ~= #other then return #one > #other end
  return one > other
end

if seen then
  local first = redis.call('GET', seen)
  if first then return {'duplicate', first} end
end
local found = redis.call('HMGET', meta, 'e', 'o', 'r', 'l', 'v', 'w')
if not found[1] then
  begin(meta, stream, fresh, meta_ttl)
  found = redis.call('HMGET', meta, 'e', 'o', 'r', 'l', 'v', 'w')
end
if version ~= '' and found[5] and found[6] == version_epoch
    and not greater(version, found[5]) then
  return {'stale'}
end

local epoch, offset, here = found[1], tonumber(found[2]), incarnation()
local changes = {}
if found[3] ~= here then
  -- None of the next offsets may stand for something else somewhere: leave them out.
  local left_out = {whole(offset) .. '=' .. whole(offset + LEFT_OUT)}
  for before in string.gmatch(found[4] or '', '[^,]+') do
    if #left_out < 16 then left_out[#left_out + 1] = before end
  end
  changes = {'r', here, 'l', table.concat(left_out, ',')}
  offset = offset + LEFT_OUT
end
if version ~= '' then
  for _, part in ipairs({'v', version, 'w', version_epoch}) do
    changes[#changes + 1] = part
  end
end
offset = offset + 1
-- First what may be refused: an error undoes nothing, so nothing may have been done.
redis.call('XADD', stream, 'MAXLEN', size, whole(offset) .. '-0',
  'd', data, 'm', tail, 't', whole(now_ms()))
redis.call('PEXPIRE', stream, ttl)
redis.call('HSET', meta, 'o', whole(offset), unpack(changes))
redis.call('PEXPIRE', meta, meta_ttl)
if seen then
  local place = ARGV[13] .. ' ' .. whole(offset) .. ' ' .. epoch
  redis.call('SET', seen, place, 'PX', ARGV[12])
end
redis.call(verb, channel,
  head .. data .. cmsgpack.pack(offset) .. cmsgpack.pack(epoch) .. tail)
return {whole(offset), epoch}
