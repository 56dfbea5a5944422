-- Return the mark of a device, after checking whose it is.
--
-- KEYS[1]   mark of the device: '<mark>' or '<mark>|<owner>'
-- ARGV      number acknowledged last, milliseconds to keep the mark, owners...
-- returns   the mark as text, or nil if the device belongs to nobody of ARGV

local stored = redis.call('GET', KEYS[1])
local mark, owner = ARGV[1], ARGV[3]
if stored then
  local kept
  mark, kept = string.match(stored, '^(%d+)|?(.*)$')
  if kept ~= '' then
    owner = nil
    for argument = 3, #ARGV do
      if ARGV[argument] == kept then
        owner = kept
      end
    end
    if not owner then
      return false
    end
  end
end
redis.call('SET', KEYS[1], mark .. '|' .. owner, 'PX', ARGV[2])
return mark
