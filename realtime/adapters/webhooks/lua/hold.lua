-- Keep the lease, or give it back (0 ms).
-- KEYS: the lease. ARGV: who has it, the lease in ms.
-- Returns whether it was held.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
