"""The server's shell over real sockets: long polls and those who leave them, round trip, faults, the admin endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from app.testing.clock import AdjustableClock, ManualClock
from app.testing.sqs.faults import KINDS, Fault
from app.testing.sqs.server import SQSServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

DEADLINE = 20.0


@pytest.fixture(params=["plain", "tls"])
def tls(request, tls_contexts):
    """The contexts of both sides; `None` for plain HTTP."""
    return tls_contexts if request.param == "tls" else None


async def eventually(predicate: Callable[[], bool]) -> None:
    while not predicate():  # noqa: ASYNC110 - what is waited for is the server's state, which has no event
        await asyncio.sleep(0.002)


class Client:
    """One connection that speaks JSON to SQS."""

    def __init__(self, server: SQSServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = server.endpoint_url.partition("://")[2]
        self.reader, self.writer = reader, writer

    def start(self, action: str, **parameters: Any) -> None:
        """Send a request and do not wait for its answer."""
        self.request("POST", "/", f"AmazonSQS.{action}", parameters)

    def request(self, method: str, path: str, target: str, parameters: dict[str, Any] | None) -> None:
        body = b"" if parameters is None else json.dumps(parameters).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nX-Amz-Target: {target}\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(body)

    async def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        self.start(action, **parameters)
        status, _, result = await self.answer()
        assert status == 200, result
        return result

    async def refused(self, action: str, **parameters: Any) -> tuple[int, str]:
        self.start(action, **parameters)
        status, headers, _ = await self.answer()
        return status, headers["x-amzn-query-error"].split(";")[0]

    async def admin(self, method: str, path: str, parameters: dict[str, Any] | None = None, status: int = 200) -> Any:
        self.request(method, f"/_sluice/{path}", "", parameters)
        got, _, result = await self.answer()
        assert got == status, result
        return result

    def is_answered(self) -> bool:
        return bool(self.reader._buffer)

    def is_waited_for(self, server: SQSServer) -> bool:
        """Whether this connection's poll still waits in the server, which is in this very process."""
        mine = self.writer.get_extra_info("sockname")
        return any(
            poll.request._connection._transport.get_extra_info("peername") == mine and not poll.outcome.done()
            for polls in server._polls.values()
            for poll in polls
        )

    def leave(self) -> None:
        self.writer.transport.abort()

    def say_goodbye(self) -> None:
        self.writer.close()

    async def bodies(self, queue: str, **parameters: Any) -> list[str]:
        result = await self.call("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, **parameters)
        return [message["Body"] for message in result.get("Messages", [])]


class World:
    """A server, and as many clients as it takes."""

    def __init__(self, stack: contextlib.AsyncExitStack, tls: ssl.SSLContext | None, **options: Any) -> None:
        self.source = ManualClock()
        self.server = SQSServer(**options)
        self._stack = stack
        self._tls = tls

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection(self.server.http.host, self.server.http.port, ssl=self._tls)
        client = Client(self.server, reader, writer)
        self._stack.callback(client.leave)
        return client

    async def queue(self, name: str = "q", **attributes: str) -> str:
        client = await self.client()
        return (await client.call("CreateQueue", QueueName=name, Attributes=attributes))["QueueUrl"]

    async def until_waiting(self, count: int) -> None:
        await eventually(lambda: self.server.waiting == count)

    def count(self, action: str):
        return self.server.counts.of(action)


def run(
    test: Callable[[World], Awaitable[None]],
    *,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    **options: Any,
) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE), contextlib.AsyncExitStack() as stack:
            world = World(stack, tls and tls[1], **options)
            await world.server.start(tls=tls and tls[0])
            stack.push_async_callback(world.server.close, timeout=0.1)
            await test(world)

    asyncio.run(bounded())


def send(client: Client, queue: str, body: str = "x") -> Awaitable[dict[str, Any]]:
    return client.call("SendMessage", QueueUrl=queue, MessageBody=body)


# --- long polls


def test_a_waiting_poll_answers_when_its_time_is_up():
    async def test(world):
        queue, client = await world.queue(), await world.client()
        started = time.monotonic()
        assert await client.call("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=1) == {}
        assert time.monotonic() - started >= 0.99
        assert world.count("ReceiveMessage").empty == 1
        assert world.server.waiting == 0

    run(test)


@pytest.mark.parametrize("polls", [1, 50])
def test_a_client_that_left_is_not_given_messages_and_swallows_no_wake_up(polls, tls):
    """Many polls leave; the next message goes to the one that is still there."""

    async def test(world):
        queue, sender, last = await world.queue(), await world.client(), await world.client()
        leavers = [await world.client() for _ in range(polls)]
        for client in leavers:
            client.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(polls)
        last.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(polls + 1)
        for client in leavers:
            client.leave()
        # In the same breath: the server sees the message and the goodbyes in whatever order.
        await send(sender, queue)
        _, _, result = await last.answer()
        assert [message["Body"] for message in result["Messages"]] == ["x"]
        await world.until_waiting(0)

    run(test, tls=tls)


@pytest.mark.parametrize("leave", [Client.leave, Client.say_goodbye])
def test_a_message_sent_just_as_the_only_poll_leaves_stays_visible(leave, tls):
    async def test(world):
        queue, sender = await world.queue(), await world.client()
        for _ in range(50):
            client = await world.client()
            client.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
            await world.until_waiting(1)
            leave(client)
            await send(sender, queue)
            [body] = await sender.bodies(queue, VisibilityTimeout=0)
            assert body == "x"
            await world.until_waiting(0)
            world.server.account.queues["q"].purge(0)

    run(test, tls=tls)


def test_a_poll_that_timed_out_swallows_no_wake_up(monkeypatch):
    """The time of one poll is up in the very turn in which a message comes."""

    async def test(world):
        queue, sender, late, last = [await world.queue(), *[await world.client() for _ in range(3)]]
        late.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        last.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(2)
        [polls] = world.server._polls.values()
        next(iter(polls)).end()  # over, but not yet taken off the list
        world.server.account.queues["q"].send(world.server.clock.time(), _draft("x"))
        world.server.changed(world.server.account.queues["q"])
        assert (await late.answer())[2] == {}
        assert (await last.answer())[2]["Messages"][0]["Body"] == "x"
        assert await sender.bodies(queue) == []

    run(test)


def _draft(body: str):
    from app.testing.sqs.message import draft

    return draft({"MessageBody": body})


class Crowd:
    """Pollers that come and go, some of them rudely, and senders; what arrived."""

    def __init__(self, world: World, queue: str, total: int) -> None:
        self.world, self.queue, self.total = world, queue, total
        self.got: list[int] = []
        self.left = 0

    @property
    def is_done(self) -> bool:
        return len(self.got) >= self.total

    async def take(self, client: Client) -> None:
        _, _, result = await client.answer()
        self.got.extend(int(message["Body"]) for message in result.get("Messages", []))

    async def poll(self, count: int) -> None:
        client = await self.world.client()
        while not self.is_done:
            client.start("ReceiveMessage", QueueUrl=self.queue, MaxNumberOfMessages=count, WaitTimeSeconds=1)
            await self.take(client)

    async def poll_and_leave(self) -> None:
        while not self.is_done:
            client = await self.world.client()
            client.start("ReceiveMessage", QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            await asyncio.sleep(0.003)
            # Only one that still waits may leave: whoever was answered has its messages, read or not.
            if client.is_answered() or not self.leaves_now(client):
                await self.take(client)

    def leaves_now(self, client: Client) -> bool:
        if not client.is_waited_for(self.world.server):
            return False
        client.leave()
        self.left += 1
        return True

    async def send(self, first: int) -> None:
        client = await self.world.client()
        for n in range(first, self.total, 20):
            await send(client, self.queue, str(n))
            await asyncio.sleep(0.001)


def test_a_hundred_pollers_and_senders_lose_nothing_and_repeat_nothing(tls):
    """Also while polls are left in the middle of their wait: each message arrives exactly once."""

    async def test(world):
        crowd = Crowd(world, await world.queue(VisibilityTimeout="43200"), 1000)
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(crowd.poll(1 + number % 10))
            for _ in range(5):
                group.create_task(crowd.poll_and_leave())
            for first in range(20):
                group.create_task(crowd.send(first))
        assert sorted(crowd.got) == list(range(1000))
        assert crowd.left > 0

    run(test, tls=tls)


def test_ten_messages_wake_as_many_polls_as_they_fill():
    async def test(world):
        queue, sender = await world.queue(), await world.client()
        clients = [await world.client() for _ in range(5)]
        for client in clients:
            client.start("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=4, WaitTimeSeconds=20)
        await world.until_waiting(5)
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(10)]
        await sender.call("SendMessageBatch", QueueUrl=queue, Entries=entries)
        answered = [len((await client.answer())[2]["Messages"]) for client in clients[:3]]
        assert answered == [4, 4, 2]
        assert world.server.waiting == 2

    run(test)


def test_moving_the_clock_wakes_those_who_wait_for_a_timeout():
    async def test(world):
        queue, sender, waiter = await world.queue(), await world.client(), await world.client()
        await send(sender, queue)
        assert await sender.bodies(queue, VisibilityTimeout=43_200) == ["x"]
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await sender.admin("POST", "clock", {"advance": 43_199})
        assert world.server.waiting == 1
        await sender.admin("POST", "clock", {"advance": 1})
        assert (await waiter.answer())[2]["Messages"][0]["Body"] == "x"

    run(test)


def test_a_fast_clock_lets_a_delay_end_early():
    async def test(world):
        queue, client = await world.queue(), await world.client()
        await client.call("SendMessage", QueueUrl=queue, MessageBody="x", DelaySeconds=900)
        started = time.monotonic()
        assert await client.bodies(queue, WaitTimeSeconds=20) == ["x"]
        assert time.monotonic() - started < 10

    run(test, clock=AdjustableClock(speed=3000))


def test_a_waiting_poll_is_woken_when_the_timeout_becomes_shorter():
    async def test(world):
        queue, sender, waiter = await world.queue(), await world.client(), await world.client()
        await send(sender, queue)
        received = await sender.call("ReceiveMessage", QueueUrl=queue)
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        handle = received["Messages"][0]["ReceiptHandle"]
        await sender.call("ChangeMessageVisibility", QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=1)
        assert (await waiter.answer())[2]["Messages"][0]["Body"] == "x"

    run(test)


def test_those_who_wait_at_a_dead_letter_queue_are_woken_by_a_receive_elsewhere():
    async def test(world):
        dead = await world.queue("dead")
        policy = json.dumps({"deadLetterTargetArn": world.server.account.arn("dead"), "maxReceiveCount": 1})
        queue, client, waiter = await world.queue(RedrivePolicy=policy), await world.client(), await world.client()
        waiter.start("ReceiveMessage", QueueUrl=dead, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await send(client, queue)
        assert await client.bodies(queue, VisibilityTimeout=0) == ["x"]
        assert await client.bodies(queue) == []
        assert (await waiter.answer())[2]["Messages"][0]["Body"] == "x"

    run(test)


def test_deleting_a_queue_ends_the_polls_that_wait_at_it():
    async def test(world):
        queue, client, waiter = await world.queue(), await world.client(), await world.client()
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await client.call("DeleteQueue", QueueUrl=queue)
        status, headers, _ = await waiter.answer()
        assert (status, headers["x-amzn-query-error"]) == (400, "aws.simplequeueservice.nonexistentqueue;sender")

    run(test)


def test_at_the_quota_a_short_poll_is_refused_and_a_long_poll_waits_until_one_is_deleted():
    async def test(world):
        queue, client, waiter = await world.queue(), await world.client(), await world.client()
        for n in range(3):
            await send(client, queue, str(n))
        taken = (await client.call("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10))["Messages"]
        assert len(taken) == 2
        assert await client.refused("ReceiveMessage", QueueUrl=queue) == (403, "overlimit")
        assert await client.call("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=1) == {}
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await client.call("DeleteMessage", QueueUrl=queue, ReceiptHandle=taken[0]["ReceiptHandle"])
        assert (await waiter.answer())[2]["Messages"][0]["Body"] == "2"

    run(test, max_in_flight=2)


def test_closing_answers_the_polls_that_wait():
    async def test(world):
        queue, waiter = await world.queue(), await world.client()
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await world.server.close(timeout=2)
        assert (await waiter.answer())[2] == {}

    run(test)


# --- round trip


def test_the_round_trip_is_half_before_the_effect_and_half_after():
    async def test(world):
        queue, client = await world.queue(), await world.client()
        world.server.round_trip = 0.4
        client.start("SendMessage", QueueUrl=queue, MessageBody="x")
        started = time.monotonic()
        q = world.server.account.queues["q"]
        await eventually(lambda: len(q) == 1)
        effect = time.monotonic() - started
        await client.answer()
        answer = time.monotonic() - started
        assert 0.15 < effect < answer - 0.15
        assert answer >= 0.39

    run(test)


def test_a_long_polls_wait_does_not_hide_the_round_trip():
    async def test(world):
        queue, sender, waiter = await world.queue(), await world.client(), await world.client()
        world.server.round_trip = 0.4
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        world.server.account.queues["q"].send(world.server.clock.time(), _draft("x"))
        started = time.monotonic()
        world.server.changed(world.server.account.queues["q"])
        await waiter.answer()
        assert time.monotonic() - started >= 0.19
        del sender

    run(test)


def test_jitter_adds_up_to_what_was_asked_for():
    async def test(world):
        queue, client = await world.queue(), await world.client()
        world.server.jitter = 0.05
        took = []
        for _ in range(10):
            started = time.monotonic()
            await send(client, queue)
            took.append(time.monotonic() - started)
        assert max(took) - min(took) > 0.005

    run(test, seed=1)


def test_a_client_that_leaves_on_the_way_is_not_given_messages():
    async def test(world):
        queue, sender, leaver = await world.queue(), await world.client(), await world.client()
        await send(sender, queue)
        world.server.round_trip = 0.1
        leaver.start("ReceiveMessage", QueueUrl=queue)
        await leaver.writer.drain()
        await eventually(lambda: world.count("ReceiveMessage").calls == 1)
        leaver.leave()
        await asyncio.sleep(0.15)
        world.server.round_trip = 0
        assert await sender.bodies(queue) == ["x"]

    run(test)


def test_calls_in_work_do_not_wait_for_each_other():
    async def test(world):
        queue = await world.queue()
        clients = [await world.client() for _ in range(20)]
        world.server.round_trip = 0.2
        started = time.monotonic()
        await asyncio.gather(*(send(client, queue) for client in clients))
        assert time.monotonic() - started < 2.0

    run(test)


def test_short_receives_give_a_random_part_and_never_nothing():
    async def test(world):
        queue, client = await world.queue(VisibilityTimeout="0"), await world.client()
        for n in range(10):
            await send(client, queue, str(n))
        sizes = {len(await client.bodies(queue)) for _ in range(60)}
        assert min(sizes) == 1
        assert len(sizes) > 5

    run(test, short_receives=True, seed=1)


# --- faults, one by one


def on(world: World, text: str) -> None:
    world.server.faults.add(Fault.parse(text))


async def gone(client: Client) -> bool:
    with contextlib.suppress(ConnectionError):
        return await client.reader.read() == b""
    return True


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("error", (500, "internalfailure")),
        ("error:code=503", (503, "serviceunavailable")),
        ("error:code=OverLimit", (403, "overlimit")),
        ("throttle", (400, "requestthrottled")),
        ("throttle:code=ThrottlingException", (400, "throttlingexception")),
    ],
)
def test_an_error_is_answered_and_has_no_effect(fault, answer):
    async def test(world):
        queue, client = await world.queue(), await world.client()
        on(world, f"SendMessage:{fault}:count=1")
        assert await client.refused("SendMessage", QueueUrl=queue, MessageBody="x") == answer
        assert await client.bodies(queue) == []
        await send(client, queue)
        count = world.count("SendMessage")
        assert (count.calls, count.ok, count.errors, count.faults, count.messages) == (2, 1, 1, 1, 1)

    run(test)


def test_a_drop_closes_the_connection_and_has_no_effect():
    async def test(world):
        queue, client, other = await world.queue(), await world.client(), await world.client()
        on(world, "SendMessage:drop:count=1")
        client.start("SendMessage", QueueUrl=queue, MessageBody="x")
        assert await gone(client)
        assert await other.bodies(queue) == []

    run(test)


def test_a_black_hole_never_answers_and_has_no_effect():
    async def test(world):
        queue, client, other = await world.queue(), await world.client(), await world.client()
        on(world, "SendMessage:black-hole:count=1")
        client.start("SendMessage", QueueUrl=queue, MessageBody="x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.2)
        assert await other.bodies(queue) == []

    run(test)


def test_a_lost_answer_had_its_effect():
    async def test(world):
        queue, client, other = await world.queue(), await world.client(), await world.client()
        on(world, "SendMessage:answer-lost:count=1")
        client.start("SendMessage", QueueUrl=queue, MessageBody="x")
        assert await gone(client)
        assert await other.bodies(queue) == ["x"]

    run(test)


def test_a_truncated_answer_breaks_off_and_had_its_effect():
    async def test(world):
        queue, client, other = await world.queue(), await world.client(), await world.client()
        on(world, "SendMessage:truncated:count=1")
        client.start("SendMessage", QueueUrl=queue, MessageBody="x")
        head, _, rest = (await client.reader.read()).partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        assert len(rest) == length // 2
        assert await other.bodies(queue) == ["x"]

    run(test)


def test_garbage_is_no_json_and_had_its_effect():
    async def test(world):
        queue, client, other = await world.queue(), await world.client(), await world.client()
        on(world, "SendMessage:garbage:count=1")
        client.start("SendMessage", QueueUrl=queue, MessageBody="x")
        with pytest.raises(json.JSONDecodeError):
            await client.answer()
        assert await other.bodies(queue) == ["x"]

    run(test)


def test_a_slow_answer_is_late():
    async def test(world):
        queue, client = await world.queue(), await world.client()
        on(world, "SendMessage:slow:seconds=0.3")
        started = time.monotonic()
        await send(client, queue)
        assert time.monotonic() - started >= 0.29

    run(test)


@pytest.mark.parametrize("wait", [0, 20])
def test_a_duplicate_is_delivered_twice_at_once(wait):
    async def test(world):
        queue, first, second = await world.queue(), await world.client(), await world.client()
        on(world, "ReceiveMessage:duplicate:count=1")
        first.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=wait or 1)
        await world.until_waiting(1)
        await send(second, queue)
        _, _, one = await first.answer()
        two = await second.call("ReceiveMessage", QueueUrl=queue)
        assert one["Messages"][0]["MessageId"] == two["Messages"][0]["MessageId"]
        assert one["Messages"][0]["ReceiptHandle"] != two["Messages"][0]["ReceiptHandle"]
        assert await first.bodies(queue) == []

    run(test)


def test_messages_may_be_given_to_a_client_that_has_gone():
    async def test(world):
        queue, sender, leaver = await world.queue(), await world.client(), await world.client()
        on(world, "ReceiveMessage:deliver-to-gone:count=1")
        leaver.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        leaver.leave()
        await eventually(lambda: world.server.http.connections == 2)
        await send(sender, queue)
        assert await sender.bodies(queue) == []
        await sender.admin("POST", "clock", {"advance": 30})
        assert await sender.bodies(queue) == ["x"]

    run(test)


def test_every_kind_of_fault_has_a_test_above():
    source = (__import__("pathlib").Path(__file__)).read_text()
    assert all(f":{kind}" in source or f'"{kind}"' in source for kind in KINDS)


# --- what is not SQS


@pytest.mark.parametrize("target", ["", "AmazonSQS.Explode", "DynamoDB.ListTables"])
def test_a_request_without_a_known_target_gets_awss_error(target):
    async def test(world):
        client = await world.client()
        client.request("POST", "/", target, {})
        status, headers, result = await client.answer()
        assert (status, headers["x-amzn-query-error"]) == (400, "invalidaction;sender")
        assert result["__type"].endswith("#UnknownOperationException")

    run(test)


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json_object_gets_awss_error(body):
    async def test(world):
        client = await world.client()
        client.writer.write(
            b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        status, _, result = await client.answer()
        assert (status, result["__type"]) == (400, "com.amazon.coral.service#SerializationException")

    run(test)


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("SendMessage", {"QueueUrl": 5}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": 5}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x", "DelaySeconds": "5"}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x", "DelaySeconds": True}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x", "MessageAttributes": []}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x", "MessageAttributes": {"a": 5}}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x", "MessageAttributes": {"a": {"DataType": 5}}}),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x", "MessageGroupId": 5}),
        ("SendMessageBatch", {"QueueUrl": "q", "Entries": 5}),
        ("SendMessageBatch", {"QueueUrl": "q", "Entries": [5]}),
        ("CreateQueue", {"QueueName": "a", "Attributes": {"DelaySeconds": 5}}),
        ("ReceiveMessage", {"QueueUrl": "q", "AttributeNames": "All"}),
        ("ReceiveMessage", {"QueueUrl": "q", "MaxNumberOfMessages": 1.5}),
    ],
    ids=str,
)
def test_values_of_a_wrong_type_are_refused_and_break_nothing(action, parameters):
    async def test(world):
        queue, client = await world.queue(), await world.client()
        status, _ = await client.refused(action, **parameters)
        assert status == 400
        await send(client, queue)

    run(test)


# --- the admin endpoint


def test_stats_say_what_is_going_on():
    async def test(world):
        queue, client, waiter = await world.queue(), await world.client(), await world.client()
        await client.admin("POST", "fill", {"queue": "q", "count": 12_000, "body": "no {n}"})
        assert await client.bodies(queue) == [f"no {n}" for n in range(10)]
        await client.call("SendMessage", QueueUrl=queue, MessageBody="x", DelaySeconds=60)
        other = await world.queue("other")
        waiter.start("ReceiveMessage", QueueUrl=other, WaitTimeSeconds=20)
        await world.until_waiting(1)
        stats = await client.admin("GET", "stats")
        assert stats["queues"] == {
            "other": {"visible": 0, "in_flight": 0, "delayed": 0, "waiting_polls": 1},
            "q": {"visible": 11_990, "in_flight": 10, "delayed": 1, "waiting_polls": 0},
        }
        assert stats["counts"]["ReceiveMessage"]["messages"] == 10
        assert (await client.admin("GET", "health"))["status"] == "ok"

    run(test)


def test_a_fill_wakes_those_who_wait():
    async def test(world):
        queue, client, waiter = await world.queue(), await world.client(), await world.client()
        waiter.start("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await client.admin("POST", "fill", {"queue": "q", "count": 3})
        assert len((await waiter.answer())[2]["Messages"]) == 3

    run(test)


def test_faults_are_turned_on_and_off():
    async def test(world):
        client = await world.client()
        number = (await client.admin("POST", "faults", {"action": "SendMessage", "kind": "drop"}))["number"]
        await client.admin("POST", "faults", {"action": "*", "kind": "error", "probability": 0.5})
        assert [fault["kind"] for fault in (await client.admin("GET", "faults"))["faults"]] == ["drop", "error"]
        left = await client.admin("DELETE", f"faults?number={number}")
        assert [fault["kind"] for fault in left["faults"]] == ["error"]
        assert await client.admin("DELETE", "faults") == {"faults": []}

    run(test)


def test_settings_and_clock_are_changed_and_reset_with_all_the_rest():
    async def test(world):
        queue, client = await world.queue(), await world.client()
        await client.admin(
            "POST", "settings", {"round_trip": 0.01, "jitter": 0.01, "short_receives": True, "clock_skew": -60}
        )
        await client.admin("POST", "clock", {"set": 5.0, "speed": 0})
        assert await client.admin("GET", "clock") == {"time": 5.0, "speed": 0.0}
        await send(client, queue)
        await client.admin("POST", "counts")
        assert world.server.counts.as_dict() == {}
        await client.admin("POST", "reset")
        assert await client.admin("GET", "settings") == {
            "round_trip": 0.0,
            "jitter": 0.0,
            "short_receives": False,
            "clock_skew": 0.0,
        }
        assert abs((await client.admin("GET", "clock"))["time"] - time.time()) < 5
        assert await client.call("ListQueues") == {}
        await world.queue()

    run(test)


def test_a_reset_ends_the_polls_that_wait():
    async def test(world):
        queue, client, waiter = await world.queue(), await world.client(), await world.client()
        waiter.start("ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=20)
        await world.until_waiting(1)
        await client.admin("POST", "reset", {"seed": 7})
        assert (await waiter.answer())[2] == {}
        await send(client, await world.queue())

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "values", "status", "says"),
    [
        ("GET", "nothing", None, 404, "there is no GET"),
        ("POST", "clock", {"advance": -1}, 400, "use set"),
        ("POST", "clock", {"jump": 1}, 400, "'jump' is not one of advance, set, speed"),
        ("POST", "clock", {"speed": "fast"}, 400, "is a number"),
        ("POST", "settings", {"round_trip": -1}, 400, "0 or more"),
        ("POST", "settings", {"short_receives": 1}, 400, "true or false"),
        ("POST", "faults", {"action": "SendMessage"}, 400, "needs its kind"),
        ("POST", "faults", {"action": "Nothing", "kind": "drop"}, 400, "no action 'Nothing'"),
        ("POST", "faults", {"action": "*", "kind": "drop", "colour": 1}, 400, "a fault has no 'colour'"),
        ("POST", "fill", {"queue": "missing", "count": 1}, 400, "does not exist"),
        ("POST", "fill", {"queue": "q", "count": 0}, 400, "count of 1 to"),
        ("POST", "fill", {"queue": "q", "count": 1, "colour": 1}, 400, "not colour"),
        ("POST", "reset", {"seed": "x"}, 400, "whole number"),
        ("DELETE", "faults?number=x", None, 400, "invalid literal"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(method, path, values, status, says):
    async def test(world):
        await world.queue()
        client = await world.client()
        result = await client.admin(method, path, values, status=status)
        assert says in result["error"]

    run(test)


def test_the_same_seed_gives_the_same_ids():
    ids = []

    async def test(world):
        queue, client = await world.queue(), await world.client()
        ids.append((await send(client, queue))["MessageId"])

    for seed in (1, 1, 2):
        run(test, seed=seed)
    assert ids[0] == ids[1] != ids[2]
