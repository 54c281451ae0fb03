#!lua
-- Token buckets that all nodes share: a key holds the moment (ms) at which it is full again.
-- KEYS: the buckets
-- ARGV: "take" (a token of each, or of none), or a number of tokens to charge whether or not
--       they are there; then per key the ms of one token and of all
-- Answers whether the tokens were taken, and per key the ms until it is full.
-- The clock is the server's, since the nodes' own may differ.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local left, allowed = {}, 1

local function write(key, ms)
  if ms > 0 then
    redis.call('SET', key, string.format('%.0f', now + ms), 'PX', ms)
  else
    redis.call('DEL', key)
  end
end

for i = 1, #KEYS do
  local refill, capacity = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local stored = redis.pcall('GET', KEYS[i])
  local full_at = type(stored) == 'string' and tonumber(stored) or now
  left[i] = math.min(math.max(full_at - now, 0), capacity)
  if left[i] < full_at - now then
    -- Left behind by a clock that went back or by another setting: it would refuse for too long.
    write(KEYS[i], left[i])
  end
  if ARGV[1] == 'take' and left[i] + refill > capacity then
    allowed = 0
  end
end

if allowed == 1 then
  local tokens = tonumber(ARGV[1]) or 1
  for i = 1, #KEYS do
    local refill, capacity = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    left[i] = math.min(math.max(left[i] + tokens * refill, 0), capacity)
    write(KEYS[i], left[i])
  end
end

table.insert(left, 1, allowed)
return left
