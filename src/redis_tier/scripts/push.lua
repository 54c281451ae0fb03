#!lua
-- Pushes one entry to each of many lists.
-- KEYS: list, lease, list, lease, ...
-- ARGV: limit, epoch, then created_at, tweet_id per list, or once if it is the same for all
-- Numbers are compared as text (canonical decimals): Lua's doubles end at 2^53.

local function later(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local limit, epoch = tonumber(ARGV[1]), ARGV[2]
local pushed, dropped = 0, 0

local function push(list, at, tweet)
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

local lists, leases = {}, {}
for i = 1, #KEYS, 2 do
  lists[#lists + 1], leases[#leases + 1] = KEYS[i], KEYS[i + 1]
end
-- A loader that read the database before this commit must not write any more.
redis.call('DEL', unpack(leases))
-- No list: nothing to do, the next reader loads. Never a list of one entry. Most lists of a
-- large delivery are not there, which one look at several of them tells.
local AT_ONCE = 16
for first = 1, #lists, AT_ONCE do
  local last = math.min(first + AT_ONCE - 1, #lists)
  if redis.call('EXISTS', unpack(lists, first, last)) > 0 then
    for i = first, last do
      local place = #ARGV == 4 and 3 or 2 * i + 1
      push(lists[i], ARGV[place], ARGV[place + 1])
    end
  end
end
return {pushed, dropped}
