-- Records what the cells of each counter mean, unless one was recorded otherwise before.
--
-- KEYS[1]  the hash of meanings, by counter
-- ARGV     pairs of a counter and the meaning that its cells have for the caller
--
-- Returns pairs of a counter and the other meaning that is recorded; if there are any,
-- nothing was changed.

local others, new = {}, {}
for i = 1, #ARGV, 2 do
  local found = redis.call('HGET', KEYS[1], ARGV[i])
  if not found then
    new[#new + 1] = i
  elseif found ~= ARGV[i + 1] then
    others[#others + 1] = ARGV[i]
    others[#others + 1] = found
  end
end
if #others == 0 then
  for _, i in ipairs(new) do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return others
