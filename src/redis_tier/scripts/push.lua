#!lua
-- Pushes one entry to each of many lists.
-- KEYS: list, lease, list, lease, ...
-- ARGV: limit, epoch, then created_at, tweet_id per list
-- Numbers are compared as text (canonical decimals): Lua's doubles end at 2^53.

local function later(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local limit, epoch = tonumber(ARGV[1]), ARGV[2]
local pushed, dropped = 0, 0
for i = 1, #KEYS, 2 do
  local list, at, tweet = KEYS[i], ARGV[i + 2], ARGV[i + 3]
  -- A loader that read the database before this commit must not write any more.
  redis.call('DEL', KEYS[i + 1])
  -- No list: nothing to do, the next reader loads. Never a list of one entry.
  local head = redis.pcall('LINDEX', list, 0)
  if head then
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
end
return {pushed, dropped}
