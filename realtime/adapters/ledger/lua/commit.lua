-- Judge sub-batches against the marks of their devices and apply those that are new.
--
-- KEYS     marks of devices, hashes of buckets, HyperLogLogs of unique counts
-- ARGV[1]  what to do, packed by commit.py, which describes it
-- returns  MessagePack {{verdict, mark, verdict, mark, ...}, error}: one pair per
--          sub-batch; an error, if any, is of a cell that could not be changed
--
-- All reading and deciding comes first: an error there leaves everything as it was. The
-- first write is that of a mark, and whatever can stop writes (memory, a full disk, a
-- replica) stops that one. From there on nothing may end the script, because a commit
-- that was half applied and is repeated would not add the other half.
--
-- A bucket is read by one HMGET and written by one HSET, which takes a third of the
-- time of a HINCRBY for every cell. Sums are exact all the same: what does not fit the
-- integers that Lua's numbers hold (2^53) is left to HINCRBY as text.

local APPLIED, DUPLICATE, OVERLAP, GAP = 1, 2, 3, 4
local SUM, MIN, MAX, MEAN, UNIQUE = 1, 2, 3, 4, 5
local EXACT = 9007199254740992
local LARGEST = '9223372036854775807'
local MOST = 4000 -- arguments of one command: unpack() is limited by Lua's stack

local call, format, type, tonumber = redis.call, string.format, type, tonumber
local commit = cmsgpack.unpack(ARGV[1])
local batches, dims_of, bucket_of, members_of, buckets = unpack(commit, 1, 5)
local shard, channel, publish, listeners, REV, EVENTS = unpack(commit, 6, 11)

local marks, owners, ttls = {}, {}, {} -- by the index of the mark's key
local first, second = {}, {} -- by cell: what is added; second of a mean: events
local first_large, second_large = {}, {} -- by cell: amounts as text, beside those
local touched = {} -- by bucket: its cells

-- Without losing a digit: what would leave the exact range waits as text.
local function sum(amounts, large, cell, amount)
  local before = amounts[cell] or 0
  if type(amount) == 'number' then
    local after = before + amount
    if after < EXACT and after > -EXACT then
      amounts[cell] = after
      return
    end
    amount = format('%.0f', amount)
  end
  amounts[cell] = before
  large[cell] = large[cell] or {}
  table.insert(large[cell], amount)
end

-- Hot: once per cell and sub-batch.
local function add(kind, cell, amount, events)
  local before = first[cell]
  if before == nil then
    local cells = touched[bucket_of[cell]] or {}
    cells[#cells + 1] = cell
    touched[bucket_of[cell]] = cells
  end
  if kind == SUM then
    local after = type(amount) == 'number' and (before or 0) + amount or EXACT
    if after < EXACT and after > -EXACT then
      first[cell] = after
    else
      sum(first, first_large, cell, amount)
    end
  elseif kind == MEAN then
    sum(first, first_large, cell, amount)
    sum(second, second_large, cell, events)
  elseif kind == UNIQUE then
    first[cell] = before or {}
    for _, member in ipairs(amount) do
      table.insert(first[cell], member)
    end
  elseif before == nil or (kind == MIN) == (amount < before) then
    first[cell] = amount
  end
end

local function apply(additions)
  local at, size = 1, #additions
  while at < size do
    local cell = additions[at]
    local kind = buckets[bucket_of[cell]][2]
    add(kind, cell, additions[at + 1], additions[at + 2])
    at = at + (kind == MEAN and 3 or 2)
  end
end

-- 1. Judge.

local answer = {}
for _, batch in ipairs(batches) do
  local device, from, to = batch[1], batch[2], batch[3]
  local mark = marks[device]
  if not mark then
    local digits, owner = string.match(call('GET', KEYS[device]) or '0', '^(%d+)(.*)$')
    mark, owners[device] = tonumber(digits), owner
  end
  local verdict = GAP
  if from == mark + 1 then
    verdict, mark, ttls[device] = APPLIED, to, batch[4]
    apply(batch[5])
  elseif to <= mark then
    verdict = DUPLICATE
  elseif from <= mark then
    verdict = OVERLAP
  end
  marks[device] = mark
  answer[#answer + 1] = verdict
  answer[#answer + 1] = mark
end

-- 2. Read the buckets; what a full one has no room for goes to its other cell.

local first_before, second_before, revs = {}, {}, {}

local function read(key, cells, suffix, into)
  for from = 1, #cells, MOST do
    local fields = {}
    for at = from, math.min(from + MOST - 1, #cells) do
      fields[#fields + 1] = dims_of[cells[at]] .. suffix
    end
    local values = call('HMGET', key, unpack(fields))
    for at, value in ipairs(values) do
      into[cells[from + at - 1]] = value
    end
  end
end

local function room(key, bucket)
  local fields = call('HLEN', key)
  if fields == 0 then
    return bucket[3]
  end
  return bucket[3] - (fields - 1) / (bucket[2] == MEAN and 2 or 1) -- one is REV
end

local function pour(from, to, kind)
  add(kind, to, first[from], second[from])
  for _, amount in ipairs(first_large[from] or {}) do
    sum(first, first_large, to, amount)
  end
  for _, amount in ipairs(second_large[from] or {}) do
    sum(second, second_large, to, amount)
  end
end

local function other_cell(number, bucket, cells)
  for _, cell in ipairs(cells) do
    if dims_of[cell] == bucket[4] then
      return cell
    end
  end
  local cell = #dims_of + 1
  dims_of[cell], bucket_of[cell], members_of[cell] = bucket[4], number, bucket[9]
  return cell
end

local function overflow(number, bucket, cells, left)
  touched[number] = {}
  local other = other_cell(number, bucket, cells)
  for _, cell in ipairs(cells) do
    if first_before[cell] or left > 0 or cell == other then
      left = left - (first_before[cell] and 0 or 1)
      table.insert(touched[number], cell)
    else
      pour(cell, other, bucket[2])
    end
  end
  return touched[number]
end

for number, cells in pairs(touched) do
  local bucket = buckets[number]
  local key = KEYS[bucket[1]]
  read(key, cells, '', first_before)
  if bucket[3] > 0 then
    local new = 0
    for _, cell in ipairs(cells) do
      new = new + (first_before[cell] and 0 or 1)
    end
    local left = new > 0 and room(key, bucket) or 0
    if new > left then
      cells = overflow(number, bucket, cells, left)
      read(key, cells, '', first_before)
    end
  end
  if bucket[2] == MEAN then
    read(key, cells, EVENTS, second_before)
  end
  revs[number] = tonumber(call('HGET', key, REV) or 0)
end

-- 3. Advance the marks: the first write.

for device, ttl in pairs(ttls) do
  local value = format('%.0f', marks[device]) .. owners[device]
  call('SET', KEYS[device], value, 'PX', ttl)
end

-- 4. Change each cell once.

local problem

-- Go on after an error, such as that of a key that somebody else has written.
local function try(...)
  local result = redis.pcall(...)
  if type(result) == 'table' and result.err then
    problem = result.err
    return nil
  end
  return result
end

local function increment(key, field, amount)
  local result = redis.pcall('HINCRBY', key, field, amount)
  if type(result) == 'table' then -- it would overflow: saturate
    local sign = string.sub(amount, 1, 1) == '-' and '-' or ''
    try('HSET', key, field, sign .. LARGEST)
  end
end

-- Return the new amount; it is written, or among what is to be written.
local function grow(key, field, before, amount, large, writes)
  local known = before and tonumber(before) or 0
  local after = known + amount
  local least, most = math.min(known, after), math.max(known, after)
  if not large and most < EXACT and least > -EXACT then
    writes[#writes + 1] = field
    writes[#writes + 1] = format('%.0f', after)
    return after
  end
  for _, text in ipairs(large or {}) do
    increment(key, field, text)
  end
  increment(key, field, format('%.0f', amount))
  return try('HGET', key, field)
end

local function enlist(key, members)
  local changed = false
  for from = 1, #members, MOST do
    local to = math.min(from + MOST - 1, #members)
    changed = try('PFADD', key, unpack(members, from, to)) == 1 or changed
  end
  return changed
end

-- Return the cell's rev and its new state, or nil if it is as it was.
local function change(bucket, key, cell, rev, writes)
  local kind, dims = bucket[2], dims_of[cell]
  local before, amount = first_before[cell], first[cell]
  if kind == SUM then
    return rev, grow(key, dims, before, amount, first_large[cell], writes)
  elseif kind == MEAN then
    local total = grow(key, dims, before, amount, first_large[cell], writes)
    local events, large = second[cell], second_large[cell]
    dims, before = dims .. EVENTS, second_before[cell]
    return rev, total, grow(key, dims, before, events, large, writes)
  elseif kind == UNIQUE then
    local members_key = KEYS[members_of[cell]]
    if not enlist(members_key, amount) then
      return nil
    end
    if not before and bucket[5] > 0 then
      try('EXPIREAT', members_key, bucket[5])
    end
    rev = (before or 0) + 1 -- each of these has its own
    writes[#writes + 1] = dims
    writes[#writes + 1] = rev
    return rev
  end
  before = before and tonumber(before)
  if before and (before == amount or (kind == MIN) == (before < amount)) then
    return nil
  end
  writes[#writes + 1] = dims
  writes[#writes + 1] = format('%.0f', amount)
  return rev, amount
end

-- 5. Tell those who watch. Most changes interest nobody: ask before composing.

local notices = {} -- by channel

local function channels_of(bucket, cells)
  local names, heard = {}, {}
  for at, cell in ipairs(cells) do
    names[at] = channel .. bucket[6] .. ':' .. dims_of[cell]
  end
  for from = 1, #names, MOST do
    local to = math.min(from + MOST - 1, #names)
    local counts = try('PUBSUB', listeners, unpack(names, from, to)) or {}
    for at = 2, #counts, 2 do
      heard[from + at / 2 - 1] = tonumber(counts[at]) > 0
    end
  end
  return names, heard
end

local function announce(bucket, name, ...)
  local notice = notices[name] or { shard }
  notice[#notice + 1] = { bucket[7], bucket[8], ... }
  notices[name] = notice
end

for number, cells in pairs(touched) do
  local bucket, rev = buckets[number], revs[number] + 1
  local key = KEYS[bucket[1]]
  local names, heard = channels_of(bucket, cells)
  local writes = { REV, rev }
  local changed = false
  for at, cell in ipairs(cells) do
    local cell_rev, amount, events = change(bucket, key, cell, rev, writes)
    if cell_rev and heard[at] then
      announce(bucket, names[at], cell_rev, amount, events)
    end
    changed = changed or cell_rev
  end
  if changed then
    for from = 1, #writes, MOST do
      try('HSET', key, unpack(writes, from, math.min(from + MOST - 1, #writes)))
    end
    if bucket[5] > 0 then
      try('EXPIREAT', key, bucket[5])
    end
  end
end

for name, notice in pairs(notices) do
  try(publish, name, cmsgpack.pack(notice))
end

return cmsgpack.pack({ answer, problem })
