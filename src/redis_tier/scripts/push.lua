#!lua
-- Pushes entries to lists, each entry to one or many of them.
-- KEYS: the lists, then their leases in the same order
-- ARGV: limit, epoch, then created_at, tweet_id and number of lists for each entry
-- Numbers are compared as text (canonical decimals): Lua's doubles end at 2^53.

local function later(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local limit, epoch = tonumber(ARGV[1]), ARGV[2]
local pushed, dropped = 0, 0

local function push(list, at, tweet)
  -- No list: nothing to do, the next reader loads. Never a list of one entry.
  local head = redis.pcall('LINDEX', list, 0)
  if not head then return end
  local head_epoch, head_at, head_tweet
  if type(head) == 'string' then
    head_epoch, head_at, head_tweet = string.match(head, '^(%d+)%.(%d+)%.(%d+)%$?$')
  end
  if head_epoch ~= epoch or later(head_at, at) or redis.call('PTTL', list) < 0
    or (head_at == at and head_tweet ~= tweet) then
    redis.call('DEL', list)
    dropped = dropped + 1
  elseif head_at ~= at then
    if redis.call('LPUSH', list, epoch .. '.' .. at .. '.' .. tweet) > limit then
      redis.call('LTRIM', list, 0, limit - 1)
    end
    pushed = pushed + 1
  end
end

-- A loader that read the database before this commit must not write any more.
local count = #KEYS / 2
redis.call('DEL', unpack(KEYS, count + 1))
local list = 1
for i = 3, #ARGV, 3 do
  for _ = 1, tonumber(ARGV[i + 2]) do
    push(KEYS[list], ARGV[i], ARGV[i + 1])
    list = list + 1
  end
end
return {pushed, dropped}
