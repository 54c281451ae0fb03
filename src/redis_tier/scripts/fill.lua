#!lua
-- Writes a whole list, if no push and no removal has come since the lease was taken.
-- KEYS: list, lease
-- ARGV: lease token, time to live in ms, then the elements, newest first

if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
-- unpack() is limited by Lua's stack.
for first = 3, #ARGV, 1000 do
  redis.call('RPUSH', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
