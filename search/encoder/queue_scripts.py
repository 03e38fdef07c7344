"""The steps of the encode queue as scripts in Lua; see queue.py for what they mean."""

NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# Keys: what waits, the bell, the workers. Given: how much may wait, after how many
# milliseconds of silence there is no worker, how long is waited, the kind; then of each
# request what it tells, the key of its picture or '', and the picture.
ASK = (
    NOW
    + """
local waiting, bell, workers = KEYS[1], KEYS[2], KEYS[3]
local wait = tonumber(ARGV[3])
if redis.call('ZCOUNT', workers, now - ARGV[2], '+inf') == 0 then return -1 end
while true do
  local first = redis.call('LINDEX', waiting, 0)
  if not first or tonumber(string.sub(first, 3, 15)) > now then break end
  redis.call('LPOP', waiting)
end
local new = (#ARGV - 4) / 3
if redis.call('LLEN', waiting) + new > tonumber(ARGV[1]) then return -2 end
local head = '0' .. ARGV[4] .. string.format('%013.0f', now + wait)
for i = 5, #ARGV, 3 do
  if ARGV[i + 1] ~= '' then
    redis.call('SET', ARGV[i + 1], ARGV[i + 2], 'PX', wait)
  end
  redis.call('RPUSH', waiting, head .. ARGV[i])
end
redis.call('RPUSH', bell, '')
redis.call('PEXPIRE', waiting, 60000)
redis.call('PEXPIRE', bell, 60000)
return new
"""
)

# Keys: the bell, what the worker holds, waiting texts, waiting pictures. Given: kinds
# in the order of preference, the most texts, the most pictures.
TAKE = (
    NOW
    + """
local bell, held = KEYS[1], KEYS[2]
local lists = {t = KEYS[3], p = KEYS[4]}
local most = {t = tonumber(ARGV[2]), p = tonumber(ARGV[3])}
local taken = {0}
for kind in string.gmatch(ARGV[1], '.') do
  while #taken <= most[kind] do
    local entry = redis.call('LPOP', lists[kind])
    if not entry then break end
    if tonumber(string.sub(entry, 3, 15)) > now then
      redis.call('RPUSH', held, entry)
      taken[#taken + 1] = entry
    else
      taken[1] = taken[1] + 1
    end
  end
  if #taken > 1 then break end
end
redis.call('PEXPIRE', held, 60000)
if redis.call('LLEN', lists.t) + redis.call('LLEN', lists.p) == 0 then
  redis.call('DEL', bell)
end
return taken
"""
)

# Keys: the workers, the bell, waiting texts, waiting pictures. Given: the worker's
# name, the silence of the dead in milliseconds, the prefix of keys, the error for those
# tried twice, and how long it is kept.
LIVE = (
    NOW
    + """
local workers, bell = KEYS[1], KEYS[2]
local lists = {t = KEYS[3], p = KEYS[4]}
redis.call('ZADD', workers, now, ARGV[1])
local handed = 0
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', workers, 0, now - ARGV[2])) do
  local held = ARGV[3] .. 'held:' .. dead
  for _, entry in ipairs(redis.call('LRANGE', held, 0, -1)) do
    if string.sub(entry, 1, 1) == '0' then
      redis.call('LPUSH', lists[string.sub(entry, 2, 2)], '1' .. string.sub(entry, 2))
      redis.call('RPUSH', bell, '')
      handed = handed + 1
    else
      local answer = ARGV[3] .. 'answer:' .. string.sub(entry, 16, 47)
      redis.call('RPUSH', answer, 'e' .. string.sub(entry, 48, 50) .. ARGV[4])
      redis.call('PEXPIRE', answer, ARGV[5])
    end
  end
  redis.call('DEL', held)
end
redis.call('ZREMRANGEBYSCORE', workers, 0, now - 60000)
return handed
"""
)
