-- Judge sub-batches against the marks of their devices and apply those that are new.
--
-- KEYS     marks of devices, hashes of buckets, HyperLogLogs of unique counts
-- ARGV[1]  what to do, packed by commit.py, which describes it
-- returns  MessagePack {verdict, mark, verdict, mark, ...}, one pair per sub-batch
--
-- First everything is read and decided, where an error leaves all as it was. Then the
-- marks are written, where an error (out of memory, read-only) can only come from the
-- very first write. From there on nothing may fail: a half-applied commit that is
-- repeated would count twice. Hence pcall on cells.

local APPLIED, DUPLICATE, OVERLAP, GAP = 1, 2, 3, 4
local SUM, MIN, MAX, MEAN, UNIQUE = 1, 2, 3, 4, 5
local EXACT = 9007199254740992 -- 2^53: below it, Lua's numbers are exact integers
local LARGEST = '9223372036854775807'
local REV, EVENTS = '\0r', '\0n' -- fields beside cells, which contain no NUL
local MOST_ARGUMENTS = 4000 -- unpack() is limited by Lua's stack

local call, pcall, format = redis.call, redis.pcall, string.format
local commit = cmsgpack.unpack(ARGV[1])
local batches, dims_of, bucket_of, members_of, buckets =
  commit[1], commit[2], commit[3], commit[4], commit[5]
local shard, channel, publish = commit[6], commit[7], commit[8]

local marks, owners, ttls = {}, {}, {} -- by the index of the mark's key
local first_amount, second_amount = {}, {} -- by cell: what applied sub-batches add
local large = {} -- by cell: amounts that would not stay exact, as text
local touched = {} -- cells, in the order of their first addition

local function set_aside(cell, field, amount)
  large[cell] = large[cell] or {}
  table.insert(large[cell], { field, amount })
end

-- Add without losing a digit: what leaves the exact range waits as text.
local function accumulate(amounts, cell, amount, field)
  local before = amounts[cell] or 0
  if type(amount) == 'string' then
    set_aside(cell, field, amount)
    amounts[cell] = before
    return
  end
  local after = before + amount
  if after >= EXACT or after <= -EXACT then
    set_aside(cell, field, format('%.0f', before))
    after = amount
  end
  amounts[cell] = after
end

local collect = {
  [SUM] = function(cell, additions, at)
    accumulate(first_amount, cell, additions[at], '')
    return at + 1
  end,
  [MIN] = function(cell, additions, at)
    local before = first_amount[cell]
    if not before or additions[at] < before then
      first_amount[cell] = additions[at]
    end
    return at + 1
  end,
  [MAX] = function(cell, additions, at)
    local before = first_amount[cell]
    if not before or additions[at] > before then
      first_amount[cell] = additions[at]
    end
    return at + 1
  end,
  [MEAN] = function(cell, additions, at)
    accumulate(first_amount, cell, additions[at], '')
    accumulate(second_amount, cell, additions[at + 1], EVENTS)
    return at + 2
  end,
  [UNIQUE] = function(cell, additions, at)
    local members = first_amount[cell]
    if not members then
      first_amount[cell] = additions[at]
    else
      for _, member in ipairs(additions[at]) do
        members[#members + 1] = member
      end
    end
    return at + 1
  end,
}

local function apply(additions)
  local at = 1
  while at < #additions do
    local cell = additions[at]
    if not first_amount[cell] then
      touched[#touched + 1] = cell
    end
    at = collect[buckets[bucket_of[cell]][2]](cell, additions, at + 1)
  end
end

-- 1. Judge.

local answer = {}
for _, batch in ipairs(batches) do
  local device, first, last = batch[1], batch[2], batch[3]
  local mark = marks[device]
  if not mark then
    local stored = call('GET', KEYS[device])
    if stored then
      local digits, owner = string.match(stored, '^(%d+)(.*)$')
      mark, owners[device] = tonumber(digits), owner
    else
      mark, owners[device] = 0, ''
    end
    marks[device] = mark
  end
  local verdict
  if first == mark + 1 then
    verdict, mark = APPLIED, last
    marks[device], ttls[device] = last, batch[4]
    apply(batch[5])
  elseif last <= mark then
    verdict = DUPLICATE
  elseif first <= mark then
    verdict = OVERLAP
  else
    verdict = GAP
  end
  answer[#answer + 1] = verdict
  answer[#answer + 1] = mark
end

-- 2. Advance the marks.

for device, ttl in pairs(ttls) do
  local value = format('%.0f', marks[device]) .. owners[device]
  call('SET', KEYS[device], value, 'PX', ttl)
end

-- 3. Change each cell once.

local room = {} -- by bucket: how many new cells it can take; false when it is plenty

local function has_room(number, bucket, key, dims)
  local left = room[number]
  if left == nil then
    local fields = call('HLEN', key)
    if bucket[2] == MEAN then
      fields = fields / 2
    end
    -- The field of the bucket's rev (half of one, for a mean) is rounded away.
    local cells = bucket[2] == UNIQUE and fields or math.max(0, math.ceil(fields - 1))
    left = bucket[3] - cells
    if left >= bucket[9] then
      left = false
    end
    room[number] = left
  end
  if not left or call('HEXISTS', key, dims) == 1 then
    return true
  end
  if left <= 0 then
    return false
  end
  room[number] = left - 1
  return true
end

local function increment(key, field, amount)
  local result = pcall('HINCRBY', key, field, amount)
  if type(result) == 'table' then -- it would overflow: saturate
    result = string.sub(amount, 1, 1) == '-' and '-' .. LARGEST or LARGEST
    pcall('HSET', key, field, result)
  elseif result >= EXACT or result <= -EXACT then
    result = pcall('HGET', key, field) -- the number has lost its last digits
  end
  return result
end

local function increment_all(key, dims, cell, amounts, suffix)
  for _, one in ipairs(large[cell] or {}) do
    if one[1] == suffix then
      increment(key, dims .. suffix, one[2])
    end
  end
  return increment(key, dims .. suffix, format('%.0f', amounts[cell]))
end

local function improve(key, dims, amount, smaller)
  local before = tonumber(pcall('HGET', key, dims) or nil)
  if before and (before == amount or (before < amount) == smaller) then
    return nil
  end
  pcall('HSET', key, dims, format('%.0f', amount))
  return amount
end

local function add_members(key, members)
  local changed = 0
  for from = 1, #members, MOST_ARGUMENTS do
    local to = math.min(from + MOST_ARGUMENTS - 1, #members)
    local result = pcall('PFADD', key, unpack(members, from, to))
    if result == 1 then
      changed = 1
    end
  end
  return changed == 1
end

-- Each returns the cell's new state, or nil if it is as it was.
local change = {
  [SUM] = function(key, dims, cell)
    return { increment_all(key, dims, cell, first_amount, '') }
  end,
  [MIN] = function(key, dims, cell)
    local best = improve(key, dims, first_amount[cell], true)
    return best and { best }
  end,
  [MAX] = function(key, dims, cell)
    local best = improve(key, dims, first_amount[cell], false)
    return best and { best }
  end,
  [MEAN] = function(key, dims, cell)
    return {
      increment_all(key, dims, cell, first_amount, ''),
      increment_all(key, dims, cell, second_amount, EVENTS),
    }
  end,
  [UNIQUE] = function(_, _, cell, members_key)
    return add_members(members_key, first_amount[cell]) and {} or nil
  end,
}

local revs = {} -- by bucket
local notices = {} -- by channel: what to tell, by bucket

local function next_rev(number, bucket, key, dims, members_key)
  if bucket[2] == UNIQUE then
    local rev = pcall('HINCRBY', key, dims, 1)
    if rev == 1 and bucket[5] > 0 then
      pcall('EXPIREAT', members_key, bucket[5])
    end
    return rev
  end
  revs[number] = revs[number] or pcall('HINCRBY', key, REV, 1)
  return revs[number]
end

for _, cell in ipairs(touched) do
  local number = bucket_of[cell]
  local bucket = buckets[number]
  local key, dims, members_key = KEYS[bucket[1]], dims_of[cell], KEYS[members_of[cell]]
  if bucket[3] > 0 and not has_room(number, bucket, key, dims) then
    dims, members_key = bucket[4], KEYS[bucket[10]]
  end
  local state = change[bucket[2]](key, dims, cell, members_key)
  if state then
    local rev = next_rev(number, bucket, key, dims, members_key)
    if bucket[5] > 0 then
      pcall('EXPIREAT', key, bucket[5])
    end
    local name = channel .. bucket[6] .. ':' .. dims
    notices[name] = notices[name] or {}
    notices[name][number] = { bucket[7], bucket[8], rev, unpack(state) }
  end
end

-- 4. Tell whoever watches; without listeners this costs a look into a table.

for name, by_bucket in pairs(notices) do
  local notice = { shard }
  for _, entry in pairs(by_bucket) do
    notice[#notice + 1] = entry
  end
  pcall(publish, name, cmsgpack.pack(notice))
end

return cmsgpack.pack(answer)
