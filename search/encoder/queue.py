"""The queue of encode requests in Redis, between web processes and encode workers.

Celery's workers process it (laionweb/encode_worker.py), but its entries are not Celery
tasks: those come one by one, return only minutes after their worker was killed, and
need a subscription per result. celery-batches adds batches, but computes expired tasks
and leaves the others of a batch pending when one fails. Here each step is one script,
which Redis runs atomically by its own clock:

ENQUEUE    refuse when no worker is alive or the queue is full; else add the requests
TAKE       drop expired requests, and record those handed out as held by the worker
HEARTBEAT  record that a worker is alive; requeue once what dead workers held

Answers are lists that expire, one for each call.
"""

import json
import struct
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from redis import Connection, ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from search.errors import SearchError, SearchUnavailable
from search.observability.request_id import NO_REQUEST

NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# KEYS: the list of this kind, the bell, the workers. ARGV: the list's maximum length,
# the age in milliseconds from which a heartbeat does not count, the milliseconds until
# the deadline, the kind; then for each request its payload, the key of its image or '',
# and the image.
ENQUEUE = (
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

# KEYS: the bell, what the worker holds, the lists of texts and of images. ARGV: kinds
# in order of preference, the maximum number of texts, of images. Returns the number of
# expired requests and the entries taken.
TAKE = (
    NOW
    + """
local bell, held = KEYS[1], KEYS[2]
local lists = {t = KEYS[3], p = KEYS[4]}
local limits = {t = tonumber(ARGV[2]), p = tonumber(ARGV[3])}
local taken = {0}
for kind in string.gmatch(ARGV[1], '.') do
  while #taken <= limits[kind] do
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

# KEYS: the workers, the bell, the lists of texts and of images. ARGV: the worker's
# name, the age in milliseconds from which a heartbeat means death, the prefix of keys,
# the error for requests that were tried twice, and its time to live. Returns the number
# of requests that were requeued.
HEARTBEAT = (
    NOW
    + """
local workers, bell = KEYS[1], KEYS[2]
local lists = {t = KEYS[3], p = KEYS[4]}
redis.call('ZADD', workers, now, ARGV[1])
local requeued = 0
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', workers, 0, now - ARGV[2])) do
  local held = ARGV[3] .. 'held:' .. dead
  for _, entry in ipairs(redis.call('LRANGE', held, 0, -1)) do
    if string.sub(entry, 1, 1) == '0' then
      redis.call('LPUSH', lists[string.sub(entry, 2, 2)], '1' .. string.sub(entry, 2))
      redis.call('RPUSH', bell, '')
      requeued = requeued + 1
    else
      local answer = ARGV[3] .. 'answer:' .. string.sub(entry, 16, 47)
      redis.call('RPUSH', answer, 'e' .. string.sub(entry, 48, 50) .. ARGV[4])
      redis.call('PEXPIRE', answer, ARGV[5])
    end
  end
  redis.call('DEL', held)
end
redis.call('ZREMRANGEBYSCORE', workers, 0, now - 60000)
return requeued
"""
)


LENGTH = struct.Struct("<I")  # read of a text, after its vector
PREFIX = "laionweb:encode:"
BELL, WORKERS = f"{PREFIX}bell", f"{PREFIX}workers"
TEXT, IMAGE = "t", "p"  # kinds of requests
WAITING = {TEXT: f"{PREFIX}texts", IMAGE: f"{PREFIX}pictures"}
MAX_IMAGES = 64  # in the queue: at 1.5 MB each, more could fill Redis
CONNECT_S = SEND_S = 1.0
ANSWER_TTL_MS = 5_000
LOST = "The encode worker broke down over it; please try again in a moment."


@dataclass(frozen=True)
class Liveness:
    """Timing of the heartbeats by which workers are known to be alive.

    A worker without a heartbeat for `dead_after_ms` is dead, and others take over what
    it held. If no worker had one for `absent_after_ms`, requests fail at once.
    """

    interval_s: float = 0.3
    dead_after_ms: int = 1_000
    absent_after_ms: int = 5_000


LIVENESS = Liveness()


@dataclass(frozen=True)
class Request:
    """One text or image to encode: `kind` is TEXT or IMAGE.

    An entry of the queue consists of these fields, whose places the scripts know:

    0      how often it was tried before
    1      kind
    2-14   deadline in milliseconds of Redis's clock
    15-46  call
    47-49  number within the call
    50-    the other fields as JSON; the content of an image has a key of its own
    """

    call: str
    number: int
    kind: str
    model: str
    weights: str
    content: bytes
    name: str = NO_REQUEST  # id of the web request, for the worker's log

    @property
    def image_key(self) -> str:
        return f"{PREFIX}picture:{self.call}{self.number:03}"

    @property
    def payload(self) -> str:
        """The entry without the fields that ENQUEUE adds."""
        rest = {"model": self.model, "weights": self.weights, "name": self.name}
        if self.kind == TEXT:
            rest["text"] = self.content.decode(errors="surrogatepass")
        return f"{self.call}{self.number:03}{json.dumps(rest)}"

    @classmethod
    def from_entry(cls, entry: bytes) -> "Request":
        """Parse an entry; the content of an image stays empty."""
        text = entry.decode()
        rest = json.loads(text[50:])
        content = rest.pop("text", "").encode(errors="surrogatepass")
        return cls(text[15:47], int(text[47:50]), text[1], **rest, content=content)


class QueueClient:
    """The side that needs embeddings; thread-safe, with a connection per call.

    Raises redis.RedisError when Redis does not answer in time.
    """

    def __init__(self, url: str, liveness: Liveness = LIVENESS):
        self._liveness = liveness
        self._pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=SEND_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=10_000,
        )

    def encode(
        self, requests: Sequence[Request], max_queued: int, wait_s: float
    ) -> list[bytes]:
        """Return the embeddings of one call's requests, in order, as float32 bytes.

        After that of a text comes how many characters of it were read, as LENGTH.
        Raises SearchUnavailable when they do not come within `wait_s`.
        """
        deadline = time.monotonic() + wait_s
        connection = self._pool.get_connection()
        try:
            self._enqueue(connection, requests, max_queued, deadline)
            return self._receive(connection, requests, deadline)
        except SearchError:
            raise
        except BaseException:
            connection.disconnect()  # a late reply would answer the next command
            raise
        finally:
            self._pool.release(connection)

    def status(self) -> tuple[dict[str, int], int]:
        """Return the lengths of the queue by kind, and the number of live workers."""
        client = Redis(connection_pool=self._pool)
        seconds, microseconds = client.time()
        since = seconds * 1_000 + microseconds // 1_000 - self._liveness.dead_after_ms
        waiting = {kind: client.llen(key) for kind, key in WAITING.items()}
        return waiting, client.zcount(WORKERS, since, "+inf")

    def _enqueue(
        self,
        connection: Connection,
        requests: Sequence[Request],
        max_queued: int,
        deadline: float,
    ) -> None:
        kind = requests[0].kind
        keys = [WAITING[kind], BELL, WORKERS]
        is_image = kind == IMAGE
        wait_ms = max(int((deadline - time.monotonic()) * 1000), 1)
        arguments: list[Any] = [min(max_queued, MAX_IMAGES) if is_image else max_queued]
        arguments += [self._liveness.absent_after_ms, wait_ms, kind]
        for request in requests:
            arguments.append(request.payload)
            arguments.append(request.image_key if is_image else "")
            arguments.append(request.content if is_image else "")
        result = _command(connection, deadline, "EVAL", ENQUEUE, 3, *keys, *arguments)
        if result == -1:
            raise SearchUnavailable(
                "Searches by words or images are unavailable: no encode worker is "
                "running."
            )
        if result == -2:
            raise SearchUnavailable(
                "Too many searches are waiting; please try again in a moment."
            )

    def _receive(
        self, connection: Connection, requests: Sequence[Request], deadline: float
    ) -> list[bytes]:
        vectors: dict[int, bytes] = {}
        key = f"{PREFIX}answer:{requests[0].call}"
        while len(vectors) < len(requests):
            remaining = max(deadline - time.monotonic(), 0.001)
            blpop = ("BLPOP", key, f"{remaining:.3f}")
            try:
                popped = _command(connection, deadline, *blpop)
            except RedisTimeout:  # which has closed the connection
                popped = None
            if popped is None:
                raise SearchUnavailable(
                    "Encoding the words or the image took too long; please try again "
                    "in a moment."
                )
            number, vector = _parse_answer(popped[1])
            vectors[number] = vector
        return [vectors[request.number] for request in requests]


class QueueServer:
    """The side of one encode worker; raises redis.RedisError."""

    def __init__(self, url: str, name: str, liveness: Liveness = LIVENESS):
        self.name = name
        self._liveness = liveness
        self._held = f"{PREFIX}held:{name}"
        self._redis = Redis.from_url(
            url, socket_connect_timeout=CONNECT_S, socket_timeout=5 * SEND_S
        )

    def wait(self, seconds: float) -> bool:
        """Return whether a request arrives within these seconds."""
        return self._redis.blpop([BELL], timeout=seconds) is not None

    def take(self, kinds: str, limits: dict[str, int]) -> tuple[list[Request], int]:
        """Take requests of the first of these kinds that has any.

        Returns them, and the number of expired requests that were dropped.
        """
        keys = [BELL, self._held, WAITING[TEXT], WAITING[IMAGE]]
        arguments: list[str | int] = [kinds, limits[TEXT], limits[IMAGE]]
        expired, *entries = self._redis.eval(TAKE, 4, *keys, *arguments)
        requests = [Request.from_entry(entry) for entry in entries]
        if not requests or requests[0].kind == TEXT:
            return requests, expired
        contents = self._redis.mget([request.image_key for request in requests])
        return [
            Request(**{**vars(request), "content": content})
            for request, content in zip(requests, contents, strict=True)
            if content is not None  # expired with its deadline
        ], expired

    def answer(self, answers: Sequence[tuple[Request, bytes | SearchError]]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for request, result in answers:
                key = f"{PREFIX}answer:{request.call}"
                pipeline.rpush(key, _format_answer(request.number, result))
                pipeline.pexpire(key, ANSWER_TTL_MS)
                if request.kind == IMAGE:
                    pipeline.unlink(request.image_key)
            pipeline.execute()

    def release(self) -> None:
        """Forget the requests taken, once all of them are answered."""
        self._redis.delete(self._held)

    def heartbeat(self) -> int:
        """Report that the worker is alive; return the number of requeued requests."""
        keys = [WORKERS, BELL, WAITING[TEXT], WAITING[IMAGE]]
        lost = json.dumps({"code": SearchUnavailable.code, "message": LOST})
        dead_after_ms = self._liveness.dead_after_ms
        arguments = (self.name, dead_after_ms, PREFIX, lost, ANSWER_TTL_MS)
        return self._redis.eval(HEARTBEAT, 4, *keys, *arguments)

    def unregister(self) -> None:
        """Remove the worker, which holds no requests any more, from the live ones."""
        self._redis.zrem(WORKERS, self.name)


def new_call() -> str:
    return uuid.uuid4().hex


SIZE = struct.Struct(">HH")


def pack_image(image: Image.Image) -> bytes:
    """Return an RGB image of at most 65,535 pixels a side as content of a request."""
    return SIZE.pack(*image.size) + image.tobytes()


def unpack_image(content: bytes) -> Image.Image:
    """Return the image that pack_image packed; raise ValueError for other bytes."""
    return Image.frombytes("RGB", SIZE.unpack(content[:4]), content[4:])


def _command(connection: Connection, deadline: float, *command: Any) -> Any:
    connection.send_command(*command)
    remaining = deadline - time.monotonic()
    return connection.read_response(timeout=max(remaining, 0.0) + 0.1)


def _format_answer(number: int, result: bytes | SearchError) -> bytes:
    if isinstance(result, bytes):
        return b"v%03d" % number + result
    error = {"code": result.code, "message": result.message}
    return b"e%03d" % number + json.dumps(error).encode()


def _parse_answer(answer: bytes) -> tuple[int, bytes]:
    """Return the request's number and vector; raise the error that came instead."""
    number, content = int(answer[1:4]), answer[4:]
    if answer[:1] == b"v":
        return number, content
    raise SearchUnavailable(json.loads(content)["message"])
