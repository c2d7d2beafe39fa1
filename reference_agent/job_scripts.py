"""What happens to a job in one step, so that no other process ever sees half of it? Redis runs these by itself.

Every script begins with `_BEGIN`: the keys' prefix, and the time by Redis' own clock, so that no two machines' clocks
have to agree. Times are milliseconds since 1970.

    <prefix>job:ID        the job: whose, what was said, how far it is, what came of it
    <prefix>box:BOX       a user's jobs that have not ended, in the order in which they came; a list
    <prefix>lease:BOX     which attempt plays the first of them; expires unless it is renewed
    <prefix>awake:BOX     a message for this box is on its way to a worker, or with one
    <prefix>of:BOX        all jobs of a user, ended ones too, by the time they came
    <prefix>key:BOX:KEY   which job an idempotency key stands for
    <prefix>open          jobs that have not ended, by the time they came
    <prefix>running       jobs that are being played, by the time they began
    <prefix>audio:ID      what there is to hear
    <prefix>audio_at, <prefix>audio_bytes, <prefix>audio_total    how old and how large that is, and all of it
    <prefix>counts        what has happened so far
"""

from __future__ import annotations

_BEGIN = """
local p = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function count(what, by) redis.call('HINCRBY', p .. 'counts', what, by or 1) end
local function drop_audio(id)
    local bytes = redis.call('HGET', p .. 'audio_bytes', id)
    if not bytes then return end
    redis.call('DECRBY', p .. 'audio_total', bytes)
    redis.call('HDEL', p .. 'audio_bytes', id)
    redis.call('ZREM', p .. 'audio_at', id)
    redis.call('DEL', p .. 'audio:' .. id)
end
local function no_more_open(id)
    redis.call('ZREM', p .. 'open', id)
    redis.call('ZREM', p .. 'running', id)
end
"""

ACCEPT = f"""{_BEGIN}
local box, id, key, fingerprint = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, most_of_user, keep_ms, awake_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local awake = p .. 'awake:' .. box
if key ~= '' then
    key = p .. 'key:' .. box .. ':' .. key
    local known = redis.call('GET', key)
    local said = known and redis.call('HGET', p .. 'job:' .. known, 'fingerprint')
    if said then
        if said ~= fingerprint then return {{'another', known, 0}} end
        -- Whoever asks again gets a job that was lost on its way to the workers going again.
        local ended = not redis.call('ZSCORE', p .. 'open', known)
        local wake = not ended and redis.call('SET', awake, now, 'NX', 'PX', awake_ms)
        return {{'known', known, wake and 1 or 0}}
    end
end
local jobs = p .. 'box:' .. box
redis.call('ZREMRANGEBYSCORE', p .. 'open', '-inf', now - keep_ms)
if redis.call('ZCARD', p .. 'open') >= most then
    count('refused')
    local oldest = redis.call('ZRANGE', p .. 'open', 0, 0, 'WITHSCORES')
    return {{'full', '', now - (oldest[2] or now)}}
end
if redis.call('LLEN', jobs) >= most_of_user then
    count('refused')
    local first = redis.call('HGET', p .. 'job:' .. redis.call('LINDEX', jobs, 0), 'accepted_ms')
    return {{'full_of_user', '', now - (first or now)}}
end
redis.call('HSET', p .. 'job:' .. id, 'box', box, 'state', 'waiting', 'accepted_ms', now, 'attempt', 0,
    'key', key, 'fingerprint', fingerprint, unpack(ARGV, 9))
redis.call('PEXPIRE', p .. 'job:' .. id, keep_ms)
redis.call('RPUSH', jobs, id)
redis.call('PEXPIRE', jobs, keep_ms)
redis.call('ZADD', p .. 'open', now, id)
redis.call('ZREMRANGEBYSCORE', p .. 'of:' .. box, '-inf', now - keep_ms)
redis.call('ZADD', p .. 'of:' .. box, now, id)
redis.call('PEXPIRE', p .. 'of:' .. box, keep_ms)
if key ~= '' then redis.call('SET', key, id, 'PX', keep_ms) end
count('accepted')
return {{'new', id, redis.call('SET', awake, now, 'NX', 'PX', awake_ms) and 1 or 0}}
"""
"""A job is taken in, or it is known already, or there is no room. Returns what, which, and whether to knock (or how old
the oldest one is that takes the room)."""

CLAIM = f"""{_BEGIN}
local box, token, lease_ms, awake_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local jobs, lease = p .. 'box:' .. box, p .. 'lease:' .. box
if redis.call('EXISTS', lease) == 1 then return {{'held'}} end
local id = redis.call('LINDEX', jobs, 0)
while id and redis.call('EXISTS', p .. 'job:' .. id) == 0 do
    redis.call('LPOP', jobs)
    no_more_open(id)
    id = redis.call('LINDEX', jobs, 0)
end
if not id then
    redis.call('DEL', p .. 'awake:' .. box)
    return {{'empty'}}
end
local job = p .. 'job:' .. id
-- Running, and nobody holds the lease: whoever played it has died.
if redis.call('HGET', job, 'state') == 'running' then count('redelivered') end
if redis.call('HINCRBY', job, 'attempt', 1) == 1 then
    count('waited_ms', now - redis.call('HGET', job, 'accepted_ms'))
    count('begun')
end
redis.call('HSET', job, 'state', 'running', 'token', token)
redis.call('ZADD', p .. 'running', now, id)
redis.call('SET', lease, token, 'PX', lease_ms)
redis.call('SET', p .. 'awake:' .. box, now, 'PX', awake_ms)
return {{'job', id, now, redis.call('HGETALL', job)}}
"""
"""An attempt takes the first job of a box, unless another attempt is at it."""

RENEW = f"""{_BEGIN}
local box, id, token, lease_ms, awake_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('EXISTS', p .. 'job:' .. id) == 0 then return 'erased' end
if redis.call('HGET', p .. 'job:' .. id, 'token') ~= token then return 'lost' end
-- It has ended meanwhile: a lease that is taken again would keep the box's next job waiting.
if redis.call('HGET', p .. 'job:' .. id, 'state') ~= 'running' then return 'lost' end
local lease = p .. 'lease:' .. box
local holder = redis.call('GET', lease)
if holder and holder ~= token then return 'lost' end
-- One that has expired is taken again: the process stood still, and nobody has noticed.
redis.call('SET', lease, token, 'PX', lease_ms)
redis.call('SET', p .. 'awake:' .. box, now, 'PX', awake_ms)
return 'ours'
"""
"""An attempt says that it is alive, and learns whether the job is still its own."""

NOTE = f"""{_BEGIN}
local job = p .. 'job:' .. ARGV[1]
if redis.call('HGET', job, 'token') ~= ARGV[2] then return 0 end
redis.call('HSET', job, unpack(ARGV, 3))
return 1
"""
"""An attempt writes down how far it is."""

_LET_GO = """
local box, id, token, keep_ms, awake_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job, lease = p .. 'job:' .. id, p .. 'lease:' .. box
local of = redis.call('HGET', job, 'token')
-- Somebody else is at it: what this attempt came to is nobody's any more.
if of and of ~= token then return -1 end
if redis.call('GET', lease) == token then redis.call('DEL', lease) end
"""

FINISH = f"""{_BEGIN}{_LET_GO}
local audio, audio_ms, audio_most = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
redis.call('LREM', p .. 'box:' .. box, 1, id)
no_more_open(id)
if of then
    redis.call('HDEL', job, 'text', 'conversation', 'generation')
    redis.call('HSET', job, 'ended_ms', now, unpack(ARGV, 9))
    redis.call('PEXPIRE', job, keep_ms)
    count(redis.call('HGET', job, 'state'))
    count('took_ms', now - redis.call('HGET', job, 'accepted_ms'))
    if #audio > 0 then
        for _, old in ipairs(redis.call('ZRANGEBYSCORE', p .. 'audio_at', '-inf', now - audio_ms)) do
            drop_audio(old)
        end
        -- Where there is no room the oldest goes first: whoever wanted to hear it has most likely done so.
        while tonumber(redis.call('GET', p .. 'audio_total') or 0) + #audio > audio_most do
            local oldest = redis.call('ZRANGE', p .. 'audio_at', 0, 0)[1]
            if not oldest then break end
            drop_audio(oldest)
            count('audio_displaced')
        end
        redis.call('SET', p .. 'audio:' .. id, audio, 'PX', audio_ms)
        redis.call('ZADD', p .. 'audio_at', now, id)
        redis.call('HSET', p .. 'audio_bytes', id, #audio)
        redis.call('INCRBY', p .. 'audio_total', #audio)
    end
end
local more = redis.call('LLEN', p .. 'box:' .. box)
if more == 0 then
    redis.call('DEL', p .. 'awake:' .. box)
else
    redis.call('SET', p .. 'awake:' .. box, now, 'PX', awake_ms)
end
return more
"""
"""An attempt is through. Returns how many jobs of the box are left, or -1 when the job is somebody else's by now."""

PUT_BACK = f"""{_BEGIN}{_LET_GO}
redis.call('ZREM', p .. 'running', id)
if of then
    redis.call('HSET', job, 'state', 'waiting')
    redis.call('HINCRBY', job, 'attempt', -1)
    count('put_back')
end
redis.call('SET', p .. 'awake:' .. box, now, 'PX', awake_ms)
return redis.call('LLEN', p .. 'box:' .. box)
"""
"""An attempt ends before it came to anything; the job stays the first of its box. Returns as FINISH."""

OVERDUE = f"""{_BEGIN}
local queue, awake_ms, most = ARGV[1], ARGV[2], ARGV[3]
-- While messages wait, it is for lack of workers that jobs do, not because one was lost.
if redis.call('LLEN', queue) > 0 then return {{}} end
local boxes = {{}}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'open', '-inf', now, 'LIMIT', 0, most)) do
    local box = redis.call('HGET', p .. 'job:' .. id, 'box')
    if not box then
        no_more_open(id)
    elseif redis.call('EXISTS', p .. 'lease:' .. box) == 0
            and redis.call('SET', p .. 'awake:' .. box, now, 'NX', 'PX', awake_ms) then
        boxes[#boxes + 1] = box
    end
end
return boxes
"""
"""Returns the boxes with jobs that nobody plays and no message is on its way for; it counts as sent now."""

ERASE = f"""{_BEGIN}
local box = ARGV[1]
for _, id in ipairs(redis.call('ZRANGE', p .. 'of:' .. box, 0, -1)) do
    local key = redis.call('HGET', p .. 'job:' .. id, 'key')
    if key and key ~= '' then redis.call('DEL', key) end
    redis.call('DEL', p .. 'job:' .. id)
    drop_audio(id)
    no_more_open(id)
end
redis.call('DEL', p .. 'of:' .. box, p .. 'box:' .. box)
return redis.call('EXISTS', p .. 'lease:' .. box)
"""
"""Everything about a user's jobs is forgotten. Returns 1 while one is still being played."""

FIGURES = f"""{_BEGIN}
local oldest = redis.call('ZRANGE', p .. 'open', 0, 0, 'WITHSCORES')
return {{redis.call('ZCARD', p .. 'open'), redis.call('ZCARD', p .. 'running'), oldest[2] and now - oldest[2] or 0,
    redis.call('LLEN', ARGV[1]), tonumber(redis.call('GET', p .. 'audio_total') or 0),
    redis.call('HGETALL', p .. 'counts')}}
"""
"""Returns jobs not ended, of these being played, age of the oldest, messages waiting, bytes of audio, and counts."""
