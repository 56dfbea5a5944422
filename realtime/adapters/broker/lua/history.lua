-- Read a part of a channel's history.
-- KEYS: meta, stream. ARGV: an epoch that was never used; ttl in ms, ttl of meta in ms;
--   offset since which or '', its epoch; limit, max bytes, '1' for reverse.
-- Returns {offset, epoch, complete, more, {offset, data, tail, ...}}.
local meta, stream = KEYS[1], KEYS[2]
local ttl, since, since_epoch = tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[5]
local limit, left, reverse = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == '1'

local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local found = redis.call('HMGET', meta, 'e', 'o', 'l')
if found[1] then
  redis.call('PEXPIRE', meta, ARGV[3])
else
  begin(meta, stream, ARGV[1], ARGV[3])
  found = {ARGV[1], '0', false}
end
local epoch, top = found[1], tonumber(found[2])

-- The last offset before that which follows this one, over those that were left out;
-- and whether this one is a place here, or was given out by a server that has lost it.
local function before_next(offset)
  for last, next in string.gmatch(found[3] or '', '(%d+)=(%d+)') do
    last, next = tonumber(last), tonumber(next)
    if offset >= last and offset <= next then
      return next, offset == last or offset == next
    end
  end
  return offset, true
end

-- The first that is not too old. A search, because ages grow with offsets.
local function first_kept()
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return top + 1 end
  local dead_at = now_ms() - ttl
  local function is_old(offset)
    local entry = redis.call('XRANGE', stream, whole(offset), '+', 'COUNT', 1)[1]
    return entry and tonumber(entry[2][6]) <= dead_at
  end
  local low, high = offset_of(oldest), top + 1
  if not is_old(low) then return low end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if is_old(middle) then low = middle else high = middle end
  end
  return high
end

local first, last, complete = first_kept(), top, 1
first = before_next(first - 1) + 1
if since and since_epoch == epoch and since <= top then
  local beyond, is_place = before_next(since)
  if not is_place then complete = 0 end
  if reverse then
    if since <= first and since > 1 then complete = 0 end
    last = since - 1
  elseif beyond + 1 < first then
    complete = 0
  else
    first = beyond + 1
  end
elseif since then
  complete = 0
end

local entries, count, full = {}, 0, false
while count < limit and first <= last and not full do
  local some = math.min(limit - count, 16)
  local read
  if reverse then
    read = redis.call('XREVRANGE', stream, whole(last), whole(first), 'COUNT', some)
  else
    read = redis.call('XRANGE', stream, whole(first), whole(last), 'COUNT', some)
  end
  if #read == 0 then  -- only offsets that were left out
    first = last + 1
    break
  end
  for _, entry in ipairs(read) do
    left = left - #entry[2][2]
    if left < 0 and count > 0 then
      full = true
      break
    end
    count = count + 1
    local at = offset_of(entry)
    entries[#entries + 1] = whole(at)
    entries[#entries + 1] = entry[2][2]
    entries[#entries + 1] = entry[2][4]
    if reverse then last = at - 1 else first = at + 1 end
  end
end
return {whole(top), epoch, complete, first <= last and 1 or 0, entries}
