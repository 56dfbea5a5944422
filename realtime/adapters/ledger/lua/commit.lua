-- Judge sub-batches against the marks of their devices, and add what all those add
-- together that are new; or change nothing, if others are new than were counted on.
--
-- KEYS     marks of devices first; then hashes of buckets, HyperLogLogs of unique counts
-- ARGV[1]  what to do, packed by commit.py, which describes it
-- returns  MessagePack {done, verdicts, error}. done: 1, or 0 if nothing was changed.
--          verdicts: 0 if all were new, else {verdict, mark, verdict, mark, ...}, a pair
--          per sub-batch. error, if any, is of a cell that could not be changed
--
-- All reading and deciding comes first: an error there leaves everything as it was. The
-- first write is that of a mark, and whatever can stop writes (memory, a full disk, a
-- replica) stops that one. From there on nothing may end the script, because a commit
-- that was half applied and is repeated would not add the other half.
--
-- A bucket is read by one HMGET and written by one HSET, which takes a third of the
-- time of a HINCRBY for every cell. Sums are exact all the same: what does not fit the
-- integers that Lua's numbers hold (2^53) is left to HINCRBY as text. Smaller numbers go
-- to Redis as they are: it writes integers out exactly.

local APPLIED, DUPLICATE, OVERLAP, GAP = 1, 2, 3, 4
local SUM, MIN, MAX, MEAN, UNIQUE = 1, 2, 3, 4, 5
local EXACT = 9007199254740992
local LARGEST = '9223372036854775807'
local MOST = 4000 -- arguments of one command: unpack() is limited by Lua's stack

local call, pcall, format, type = redis.call, redis.pcall, string.format, type
local find, cut, tonumber, unpack = string.find, string.sub, tonumber, unpack
local commit = cmsgpack.unpack(ARGV[1])
local firsts, lasts, ttl, devices, expected, devices_given, buckets =
  unpack(commit, 1, 7)
local shard, channel, publish, listeners, REV, EVENTS = unpack(commit, 8, 13)

-- 1. Judge: does it add up as the sender thinks?

local stored, marks, moved = {}, {}, {} -- by the place of the mark's key

for from = 1, devices_given, MOST do
  local to = math.min(from + MOST - 1, devices_given)
  local values = call('MGET', unpack(KEYS, from, to))
  for at = 1, to - from + 1 do
    stored[from + at - 1] = values[at]
  end
end

-- Hot: once per device. The owner of a mark follows it, from a bar on.
local function mark_of(device)
  local text = stored[device]
  if not text then
    stored[device] = ''
    return 0
  end
  local bar = find(text, '|', 1, true)
  if not bar then
    stored[device] = ''
    return tonumber(text)
  end
  stored[device] = cut(text, bar)
  return tonumber(cut(text, 1, bar - 1))
end

local verdicts, all_new, as_expected = {}, true, true

-- Hot: once per sub-batch.
for at = 1, #firsts do
  local device, from, to = devices == 0 and at or devices[at], firsts[at], lasts[at]
  local mark = marks[device] or mark_of(device)
  local verdict = GAP
  if from == mark + 1 then
    verdict, mark = APPLIED, to
    moved[device] = ttl == 0 and commit[14][at] or ttl
  else
    all_new = false
    verdict = to <= mark and DUPLICATE or from <= mark and OVERLAP or GAP
  end
  if (verdict == APPLIED) ~= (expected == 0 or expected[at] == 1) then
    as_expected = false
  end
  marks[device] = mark
  verdicts[2 * at - 1], verdicts[2 * at] = verdict, mark
end

if not as_expected then
  return cmsgpack.pack({ 0, verdicts })
end

-- 2. Read the buckets; what a full one has no room for goes to its other cell.

local large, large_events = {}, {} -- by bucket and cell: texts to be added as well

-- Without losing a digit: what would leave the exact range waits as text.
local function sum(amounts, texts, cell, amount)
  local before = amounts[cell]
  if type(amount) == 'number' and type(before) == 'number' then
    local after = before + amount
    if after < EXACT and after > -EXACT then
      amounts[cell] = after
      return
    end
  end
  texts[cell] = texts[cell] or {}
  table.insert(texts[cell], type(amount) == 'number' and format('%.0f', amount) or amount)
end

local function read(key, dims, suffix)
  local values = {}
  for from = 1, #dims, MOST do
    local fields = {}
    for at = from, math.min(from + MOST - 1, #dims) do
      fields[#fields + 1] = dims[at] .. suffix
    end
    for at, value in ipairs(call('HMGET', key, unpack(fields))) do
      values[from + at - 1] = value
    end
  end
  return values
end

local function room(key, bucket)
  local fields = call('HLEN', key)
  if fields == 0 then
    return bucket[3]
  end
  return bucket[3] - (fields - 1) / (bucket[2] == MEAN and 2 or 1) -- one is REV
end

-- Add what is for *cell* of *from* to the cell *to* of *into*.
local function pour(number, from, cell, into, to)
  local kind, amount, more = from[2], from[10][cell], from[11][cell]
  local amounts = into[10]
  if amounts[to] == nil then
    amounts[to], into[11][to] = amount, kind == UNIQUE and from[12] or more
  elseif kind == SUM or kind == MEAN then
    sum(amounts, large[number], to, amount)
    if kind == MEAN then
      sum(into[11], large_events[number], to, more)
    end
  elseif kind == UNIQUE then
    for _, member in ipairs(amount) do
      table.insert(amounts[to], member)
    end
  elseif (kind == MIN) == (amount < amounts[to]) then
    amounts[to] = amount
  end
end

-- Return the bucket as if it had been sent with what there is room for.
local function overflow(number, bucket, before, left)
  local short = { unpack(bucket, 1, 8) }
  short[9], short[10], short[11], short[12] = {}, {}, {}, bucket[12]
  local known, cells, other = {}, 0, nil
  local function keep(cell)
    cells = cells + 1
    short[9][cells], known[cells] = bucket[9][cell], before[cell]
    short[10][cells], short[11][cells] = bucket[10][cell], bucket[11][cell]
  end
  local turned_away = {}
  for cell, dims in ipairs(bucket[9]) do
    if before[cell] or left > 0 or dims == bucket[4] then
      left = left - (before[cell] and 0 or 1)
      keep(cell)
      other = dims == bucket[4] and cells or other
    else
      turned_away[#turned_away + 1] = cell
    end
  end
  if not other then
    other = cells + 1
    short[9][other] = bucket[4]
    known[other] = call('HGET', KEYS[bucket[1]], bucket[4])
  end
  large[number], large_events[number] = {}, {}
  for _, cell in ipairs(turned_away) do
    pour(number, bucket, cell, short, other)
  end
  return short, known
end

local revs, befores, events_before = {}, {}, {} -- by bucket

for number, bucket in ipairs(buckets) do
  local key, dims, before = KEYS[bucket[1]], bucket[9], nil
  if #dims < MOST then
    before = call('HMGET', key, REV, unpack(dims))
    revs[number] = tonumber(table.remove(before, 1) or 0)
  else
    before = read(key, dims, '')
    revs[number] = tonumber(call('HGET', key, REV) or 0)
  end
  if bucket[3] > 0 then
    local new = 0
    for cell = 1, #dims do
      new = new + (before[cell] and 0 or 1)
    end
    local left = new > 0 and room(key, bucket) or 0
    if new > left then
      buckets[number], before = overflow(number, bucket, before, left)
    end
  end
  befores[number] = before
  if bucket[2] == MEAN then
    events_before[number] = read(key, buckets[number][9], EVENTS)
  end
end

-- 3. Advance the marks: the first write.

for device, ttl_ms in pairs(moved) do
  local value = format('%.0f', marks[device]) .. stored[device]
  call('SET', KEYS[device], value, 'PX', ttl_ms)
end

-- 4. Change each cell once.

local problem

-- Go on after an error, such as that of a key that somebody else has written.
local function try(...)
  local result = pcall(...)
  if type(result) == 'table' and result.err then
    problem = result.err
    return nil
  end
  return result
end

local function increment(key, field, amount)
  local result = pcall('HINCRBY', key, field, amount)
  if type(result) == 'table' then -- it would overflow: saturate
    local sign = cut(amount, 1, 1) == '-' and '-' or ''
    try('HSET', key, field, sign .. LARGEST)
  end
end

-- Return the new amount, which is written.
local function grow_far(key, field, amount, texts)
  increment(key, field, type(amount) == 'number' and format('%.0f', amount) or amount)
  for _, text in ipairs(texts or {}) do
    increment(key, field, text)
  end
  return try('HGET', key, field)
end

-- Return the new amount; it is written, or among what is to be written.
local function grow(key, field, before, amount, texts, writes)
  local known = before and tonumber(before) or 0
  if texts or type(amount) ~= 'number' or known >= EXACT or known <= -EXACT then
    return grow_far(key, field, amount, texts)
  end
  local after = known + amount
  if after >= EXACT or after <= -EXACT then
    return grow_far(key, field, amount, texts)
  end
  writes[#writes + 1] = field
  writes[#writes + 1] = after
  return after
end

local function enlist(key, members)
  local changed = false
  for from = 1, #members, MOST do
    local to = math.min(from + MOST - 1, #members)
    changed = try('PFADD', key, unpack(members, from, to)) == 1 or changed
  end
  return changed
end

-- Each of these returns the rev and the new state of a cell; nil if it is as it was.

local function change_sum(number, bucket, key, cell, rev, writes)
  local texts = large[number] and large[number][cell]
  local before, amount = befores[number][cell], bucket[10][cell]
  return rev, grow(key, bucket[9][cell], before, amount, texts, writes)
end

local function change_mean(number, bucket, key, cell, rev, writes)
  local _, total = change_sum(number, bucket, key, cell, rev, writes)
  local texts = large_events[number] and large_events[number][cell]
  local field, before = bucket[9][cell] .. EVENTS, events_before[number][cell]
  return rev, total, grow(key, field, before, bucket[11][cell], texts, writes)
end

local function change_members(number, bucket, key, cell, rev, writes)
  local before, members_key = befores[number][cell], KEYS[bucket[11][cell]]
  if not enlist(members_key, bucket[10][cell]) then
    return nil
  end
  if not before and bucket[5] > 0 then
    try('EXPIREAT', members_key, bucket[5])
  end
  rev = (before or 0) + 1 -- each of these has its own
  writes[#writes + 1] = bucket[9][cell]
  writes[#writes + 1] = rev
  return rev
end

local function change_extreme(number, bucket, key, cell, rev, writes)
  local before, amount = befores[number][cell], bucket[10][cell]
  before = before and tonumber(before)
  if before and (before == amount or (bucket[2] == MIN) == (before < amount)) then
    return nil
  end
  writes[#writes + 1] = bucket[9][cell]
  writes[#writes + 1] = amount
  return rev, amount
end

local CHANGE = {
  change_sum, change_extreme, change_extreme, change_mean, change_members
}

-- 5. Tell those who watch. Most changes interest nobody: ask before composing.

local changes = { {}, {}, {}, {}, {} } -- by number: channel, bucket, rev, amount, events
local listed, names = {}, {} -- channels

-- Hot: once per changed cell.
local function note(bucket, cell, rev, amount, events)
  local name = channel .. bucket[6] .. ':' .. bucket[9][cell]
  if not listed[name] then
    listed[name], names[#names + 1] = true, name
  end
  local at = #changes[1] + 1
  changes[1][at], changes[2][at], changes[3][at] = name, bucket, rev
  changes[4][at], changes[5][at] = amount, events
end

for number, bucket in ipairs(buckets) do
  local key, rev, change = KEYS[bucket[1]], revs[number] + 1, CHANGE[bucket[2]]
  local writes, changed = { REV, rev }, false
  for cell = 1, #bucket[9] do
    local new, amount, events = change(number, bucket, key, cell, rev, writes)
    if new then
      changed = true
      note(bucket, cell, new, amount, events)
    end
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

local notices = {} -- by channel, of those that somebody listens to

for from = 1, #names, MOST do
  local to = math.min(from + MOST - 1, #names)
  local counts = try('PUBSUB', listeners, unpack(names, from, to)) or {}
  for at = 1, #counts, 2 do
    if tonumber(counts[at + 1]) > 0 then
      notices[counts[at]] = { shard }
    end
  end
end

for at, name in ipairs(changes[1]) do
  local notice, bucket = notices[name], changes[2][at]
  if notice then
    local amount, events = changes[4][at], changes[5][at]
    notice[#notice + 1] = { bucket[7], bucket[8], changes[3][at], amount, events }
  end
end

for name, notice in pairs(notices) do
  try(publish, name, cmsgpack.pack(notice))
end

return cmsgpack.pack({ 1, all_new and 0 or verdicts, problem })
