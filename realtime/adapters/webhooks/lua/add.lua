-- Append notices to the stream; drop the oldest beyond the bound.
-- KEYS: the stream. ARGV: the bound, then the notices.
-- Returns how many were dropped.
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'n', ARGV[i])
end
return redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[1])
