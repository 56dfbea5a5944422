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
local befores, lasts, ttl, devices, expected, marks_given, groups =
  unpack(commit, 1, 7)
local shard, channel, publish, listeners, REV, EVENTS = unpack(commit, 8, 13)

-- 1. Judge: are those new that are expected to be?

local marks, owners, moved = {}, {}, {} -- by the place of the mark's key; marks as text

-- The owner of a mark follows it, from a bar on.
for from = 1, marks_given, MOST do
  local to = math.min(from + MOST - 1, marks_given)
  for at, text in ipairs(call('MGET', unpack(KEYS, from, to))) do
    local device, bar = from + at - 1, text and find(text, '|', 1, true)
    if bar then
      marks[device], owners[device] = cut(text, 1, bar - 1), cut(text, bar)
    else
      marks[device], owners[device] = text or '0', ''
    end
  end
end

local verdicts, all_new, as_expected = {}, true, true

-- Hot: once per sub-batch. What is new is found without a number being made.
for at = 1, #lasts do
  local device = devices == 0 and at or devices[at]
  local mark = marks[device]
  local new = mark == befores[at]
  if new then
    mark = lasts[at]
    marks[device], moved[device] = mark, ttl == 0 and commit[14][at] or ttl
    verdicts[2 * at - 1] = APPLIED
  else
    all_new = false
    local known, before = tonumber(mark), tonumber(befores[at])
    local counted = tonumber(lasts[at]) <= known
    verdicts[2 * at - 1] = counted and DUPLICATE or before < known and OVERLAP or GAP
  end
  verdicts[2 * at] = mark
  if new ~= (expected == 0 or expected[at] == 1) then
    as_expected = false
  end
end

if not as_expected then
  return cmsgpack.pack({ 0, verdicts })
end

-- 2. Read the buckets; what a full one has no room for goes to its other cell.

local work = {} -- like groups: what is really to be done

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

-- Return the rev, and from 2 on the fields of *dims* with *suffix*.
local function read(key, dims, suffix)
  if suffix == '' and #dims < MOST then
    return call('HMGET', key, REV, unpack(dims))
  end
  local values = { call('HGET', key, REV) }
  for from = 1, #dims, MOST do
    local fields = {}
    for at = from, math.min(from + MOST - 1, #dims) do
      fields[#fields + 1] = dims[at] .. suffix
    end
    for at, value in ipairs(call('HMGET', key, unpack(fields))) do
      values[from + at] = value
    end
  end
  return values
end

local function room(key, group)
  local fields = call('HLEN', key)
  if fields == 0 then
    return group[3]
  end
  return group[3] - (fields - 1) / (group[2] == MEAN and 2 or 1) -- one is REV
end

-- Add what is for *cell* of *from* to the cell *to* of *into*.
local function pour(kind, from, cell, into, to)
  local amount, more, amounts = from[5][cell], from[6][cell], into[5]
  if amounts[to] == nil then
    amounts[to], into[6][to] = amount, kind == UNIQUE and from[7] or more
  elseif kind == SUM or kind == MEAN then
    sum(amounts, into.large, to, amount)
    if kind == MEAN then
      sum(into[6], into.large_events, to, more)
    end
  elseif kind == UNIQUE then
    for _, member in ipairs(amount) do
      table.insert(amounts[to], member)
    end
  elseif (kind == MIN) == (amount < amounts[to]) then
    amounts[to] = amount
  end
end

-- Do what there is room for; it is a group of its own, with other dims.
local function overflow(group, bucket, left)
  local known, dims, kept, turned_away = { bucket.before[1] }, {}, 0, {}
  local short = { bucket[1], bucket[2], bucket[3], bucket[4], {}, {} }
  short.before, short.large, short.large_events = known, {}, {}
  local other
  for cell, name in ipairs(group[5]) do
    local before = bucket.before[cell + 1]
    if before or left > 0 or name == group[4] then
      left, kept = left - (before and 0 or 1), kept + 1
      dims[kept], known[kept + 1] = name, before
      short[5][kept], short[6][kept] = bucket[5][cell], bucket[6][cell]
      other = name == group[4] and kept or other
    else
      turned_away[#turned_away + 1] = cell
    end
  end
  if not other then
    other = kept + 1
    dims[other], known[other + 1] = group[4], call('HGET', KEYS[bucket[1]], group[4])
  end
  for _, cell in ipairs(turned_away) do
    pour(group[2], bucket, cell, short, other)
  end
  work[#work + 1] = { group[1], group[2], group[3], group[4], dims, { short } }
end

for _, group in ipairs(groups) do
  local dims, buckets = group[5], {}
  for _, bucket in ipairs(group[6]) do
    local key = KEYS[bucket[1]]
    local before, new = read(key, dims, ''), 0
    bucket.before = before
    for cell = 2, group[3] > 0 and #dims + 1 or 0 do
      new = new + (before[cell] and 0 or 1)
    end
    local left = new > 0 and room(key, group) or 0
    if new > left then
      overflow(group, bucket, left)
    else
      buckets[#buckets + 1] = bucket
    end
  end
  group[6] = buckets
  work[#work + 1] = group
end

for _, group in ipairs(work) do
  for _, bucket in ipairs(group[2] == MEAN and group[6] or {}) do
    bucket.events_before = read(KEYS[bucket[1]], group[5], EVENTS)
  end
end

-- 3. Advance the marks: the first write.

for device, ttl_ms in pairs(moved) do
  call('SET', KEYS[device], marks[device] .. owners[device], 'PX', ttl_ms)
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

-- Return the new amount as text, which is written.
local function grow_far(key, field, amount, texts)
  increment(key, field, type(amount) == 'number' and format('%.0f', amount) or amount)
  for _, text in ipairs(texts or {}) do
    increment(key, field, text)
  end
  return try('HGET', key, field)
end

-- Each of these changes the cells of a bucket. What is to be written is added to
-- *writes*, and the new states are left in the bucket, beside the revs of those that are
-- not as they were.

local function sum_up(key, dims, suffix, before, amounts, large, states, writes)
  local at = #writes
  for cell = 1, #dims do -- hot: once per cell and commit
    local text, amount = before[cell + 1], amounts[cell]
    local known = text and tonumber(text) or 0
    local texts, field = large and large[cell], dims[cell] .. suffix
    local after = EXACT
    if type(amount) == 'number' and not texts and known < EXACT and known > -EXACT then
      after = known + amount
    end
    if after < EXACT and after > -EXACT then
      writes[at + 1], writes[at + 2] = field, after
      at, states[cell] = at + 2, after
    else
      states[cell] = grow_far(key, field, amount, texts)
    end
  end
end

local function change_sums(key, group, bucket, rev, writes)
  local dims = group[5]
  sum_up(key, dims, '', bucket.before, bucket[5], bucket.large, bucket.states, writes)
  if group[2] == MEAN then
    bucket.events = {}
    local before, large = bucket.events_before, bucket.large_events
    sum_up(key, dims, EVENTS, before, bucket[6], large, bucket.events, writes)
  end
  for cell = 1, #dims do
    bucket.revs[cell] = rev
  end
end

local function change_extremes(key, group, bucket, rev, writes)
  for cell, dims in ipairs(group[5]) do
    local text, amount = bucket.before[cell + 1], bucket[5][cell]
    local before = text and tonumber(text)
    if not before or before ~= amount and (group[2] == MIN) == (amount < before) then
      writes[#writes + 1] = dims
      writes[#writes + 1] = amount
      bucket.states[cell], bucket.revs[cell] = amount, rev
    end
  end
end

local function enlist(key, members)
  local changed = false
  for from = 1, #members, MOST do
    local to = math.min(from + MOST - 1, #members)
    changed = try('PFADD', key, unpack(members, from, to)) == 1 or changed
  end
  return changed
end

local function change_members(_, group, bucket, _, writes)
  for cell, dims in ipairs(group[5]) do
    local members_key, before = KEYS[bucket[6][cell]], bucket.before[cell + 1]
    if enlist(members_key, bucket[5][cell]) then
      if not before and bucket[2] > 0 then
        try('EXPIREAT', members_key, bucket[2])
      end
      local rev = (before or 0) + 1 -- each of these has its own
      writes[#writes + 1] = dims
      writes[#writes + 1] = rev
      bucket.revs[cell] = rev
    end
  end
end

local CHANGE = {
  change_sums, change_extremes, change_extremes, change_sums, change_members
}

for _, group in ipairs(work) do
  for _, bucket in ipairs(group[6]) do
    local key, rev = KEYS[bucket[1]], tonumber(bucket.before[1] or 0) + 1
    local writes = { REV, rev }
    bucket.states, bucket.revs = {}, {}
    CHANGE[group[2]](key, group, bucket, rev, writes)
    if next(bucket.revs) then
      for from = 1, #writes, MOST do
        try('HSET', key, unpack(writes, from, math.min(from + MOST - 1, #writes)))
      end
      if bucket[2] > 0 then
        try('EXPIREAT', key, bucket[2])
      end
    end
  end
end

-- 5. Tell those who watch. Most changes interest nobody: ask before composing.

local function compose(group, cell)
  local notice = { shard }
  for _, bucket in ipairs(group[6]) do
    local rev = bucket.revs[cell]
    if rev then
      local events = bucket.events and bucket.events[cell]
      notice[#notice + 1] = { bucket[3], bucket[4], rev, bucket.states[cell], events }
    end
  end
  return notice
end

-- Return the names of the channels of the cells that have changed, and the cells.
local function changed_in(group)
  local names, cells, prefix = {}, {}, channel .. group[1] .. ':'
  for cell, dims in ipairs(group[5]) do
    for _, bucket in ipairs(group[6]) do
      if bucket.revs[cell] then
        names[#names + 1], cells[#cells + 1] = prefix .. dims, cell
        break
      end
    end
  end
  return names, cells
end

for _, group in ipairs(work) do
  local names, cells = changed_in(group)
  for from = 1, #names, MOST do
    local to = math.min(from + MOST - 1, #names)
    local counts = try('PUBSUB', listeners, unpack(names, from, to)) or {}
    for at = 2, #counts, 2 do
      if tonumber(counts[at]) > 0 then
        local notice = compose(group, cells[from + at / 2 - 1])
        try(publish, counts[at - 1], cmsgpack.pack(notice))
      end
    end
  end
end

return cmsgpack.pack({ 1, all_new and 0 or verdicts, problem })
