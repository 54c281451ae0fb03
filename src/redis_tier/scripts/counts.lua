#!lua
-- Writes absolute counts whose version only moves forward.
-- KEYS: the keys
-- ARGV: epoch, then version, "likes.comments", time to live in ms per key
-- Numbers are compared as text (canonical decimals): Lua's doubles end at 2^53.

local function later(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local epoch, written = ARGV[1], 0
for i = 1, #KEYS do
  local version, counts, ttl = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  local old = redis.pcall('GET', KEYS[i])
  local old_epoch, old_version
  if type(old) == 'string' then
    old_epoch, old_version = string.match(old, '^(%d+)%.(%d+)%.%d+%.%d+$')
  end
  if old_epoch ~= epoch or later(version, old_version) then
    redis.call('SET', KEYS[i], epoch .. '.' .. version .. '.' .. counts, 'PX', ttl)
    written = written + 1
  end
end
return written
