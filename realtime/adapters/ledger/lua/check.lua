-- Run every command that the ledger's scripts need, so that one that is not permitted
-- shows at start-up and not in the middle of a commit.
--
-- KEYS[1]  a key of nobody's
-- ARGV     PUBLISH or SPUBLISH, NUMSUB or SHARDNUMSUB, a channel of nobody's

local key = KEYS[1]
redis.call('DEL', key)
redis.call('HSET', key, 'a', 1)
redis.call('HINCRBY', key, 'a', 1)
redis.call('HMGET', key, 'a', 'b')
redis.call('HGET', key, 'a')
redis.call('HLEN', key)
redis.call('EXPIREAT', key, 4102444800)
redis.call('DEL', key)
redis.call('PFADD', key, 'a')
redis.call('DEL', key)
redis.call('SET', key, '0', 'PX', 1000)
redis.call('MGET', key)
redis.call('GET', key)
redis.call('DEL', key)
redis.call('PUBSUB', ARGV[2], ARGV[3])
redis.call(ARGV[1], ARGV[3], '')
