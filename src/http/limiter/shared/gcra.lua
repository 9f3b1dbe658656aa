-- The generic cell rate algorithm: takes one token of a bucket, in whole microseconds of Redis's own
-- clock, so that the clocks of the hosts do not matter.
--
-- KEYS[1]  the bucket: when it will be full again; gone once it is
-- ARGV[1]  the time from one token to the next
-- ARGV[2]  how far that instant may lie ahead before a token is taken: (burst - 1) such times
--
-- Returns 0 when a token was taken, else how long to wait for one.
local interval, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = tonumber(redis.call('GET', KEYS[1]) or '') or now
-- No bucket is emptier than empty, unless the clock was set back, or the quota was another one.
full = math.min(math.max(full, now), now + ahead + interval)
local wait = full - ahead - now
if wait > 0 then
    return wait
end
full = full + interval
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0
