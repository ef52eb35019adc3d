"""The local SQS server: listens, lets long polls wait, adds the round trip and the faults. The rules are elsewhere."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from app.testing.clock import AdjustableClock
from app.testing.http import Answer, HTTPServer, Request, Response
from app.testing.sqs.account import Account
from app.testing.sqs.actions import Actions, Call, queue_name
from app.testing.sqs.admin import Admin
from app.testing.sqs.authentication import Authentication
from app.testing.sqs.counts import Count, Counts
from app.testing.sqs.errors import SQSError
from app.testing.sqs.faults import Fault, Faults
from app.testing.sqs.keys import AccessKey, Keys
from app.testing.sqs.queue import MAX_IN_FLIGHT, Delivery, Queue
from app.testing.sqs.receiving import Receive, received

if TYPE_CHECKING:
    import ssl

MAX_REQUEST = 8 * 1024 * 1024
"""Bytes of a request's body: a full batch, each byte of it escaped."""
_CONTENT_TYPE = "application/x-amz-json-1.0"
_TARGET_PREFIX = "AmazonSQS."
_MOVED_AT_ONCE = 1_000
# Answers hold no cycles; not looking for them halves the time it takes to write one.
_to_json = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_QUERY_PROTOCOL = b"application/x-www-form-urlencoded"


class Poll:
    """A long poll that waits for messages."""

    __slots__ = ("asked", "outcome", "request", "stay_visible", "stays_when_gone")

    def __init__(
        self,
        asked: Receive,
        request: Request,
        outcome: asyncio.Future[list[Delivery]],
        *,
        stay_visible: bool,
        stays_when_gone: bool,
    ) -> None:
        self.asked = asked
        self.request = request
        self.outcome = outcome
        self.stay_visible = stay_visible
        self.stays_when_gone = stays_when_gone

    def end(self) -> None:
        """Wait no longer: the time is up, or the client has gone."""
        if not self.outcome.done():
            self.outcome.set_result([])


class SQSServer:
    """Standard queues over HTTP, in memory.

    Args:
        clock: what delays, visibility, retention and the 12 hours go by; a long poll's wait is real time.
        round_trip: seconds added to every call, half before its effect and half after.
        jitter: up to this many seconds more, at random.
        short_receives: hand out a random number of the messages there are, at least one.
        seed: the same seed gives the same ids, faults and jitter for the same calls.
        region: as in the ARNs.
        account_id: as in the ARNs and queue URLs.
        max_in_flight: the quota of each queue.
        access_key: check that each request is signed, with this key or one that was issued since; `None` checks
            nothing.
    """

    def __init__(
        self,
        *,
        clock: AdjustableClock | None = None,
        round_trip: float = 0.0,
        jitter: float = 0.0,
        short_receives: bool = False,
        seed: int | None = None,
        region: str = "us-east-1",
        account_id: str = "000000000000",
        max_in_flight: int = MAX_IN_FLIGHT,
        access_key: AccessKey | None = None,
    ) -> None:
        self.clock = clock or AdjustableClock()
        self.round_trip = round_trip
        self.jitter = jitter
        self.short_receives = short_receives
        self.region = region
        self.account_id = account_id
        self.max_in_flight = max_in_flight
        self.access_key = access_key
        self.counts = Counts()
        self.http = HTTPServer(self.handle, max_body=MAX_REQUEST)
        self.reset(seed=seed)
        self._admin = Admin(self)
        self._request_number = 0

    # --- life

    def reset(self, *, seed: int | None = None) -> None:
        """Forget every queue, fault and count; long polls end empty."""
        for polls in getattr(self, "_polls", {}).values():
            for poll in polls:
                poll.end()
        for timer in [*getattr(self, "_timers", {}).values(), getattr(self, "_move_timer", None)]:
            if timer is not None:
                timer.cancel()
        # A stream of its own for each, so that one more jitter does not change which call a fault hits.
        ids, chances, self._random, keys = (random.Random(None if seed is None else f"{seed} {n}") for n in range(4))  # noqa: S311 - nothing here is a secret
        self.account = Account(
            region=self.region, account_id=self.account_id, random_source=ids, max_in_flight=self.max_in_flight
        )
        self.actions = Actions(self.account)
        self.faults = Faults(actions=self.actions.names, random_source=chances)
        self.authentication: Authentication | None = None
        if self.access_key is not None:
            known = Keys(self.access_key, random_source=keys)
            self.authentication = Authentication(known, region=self.region, account_id=self.account_id)
        self.clock_skew = 0.0
        self.counts.clear()
        self._polls: dict[Queue, OrderedDict[Poll, None]] = {}
        self._timers: dict[Queue, asyncio.TimerHandle] = {}
        self._move_timer: asyncio.TimerHandle | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        """Listen, over TLS if a context is given; `OSError` if the port is taken."""
        self._loop = asyncio.get_running_loop()
        await self.http.start(host, port, tls=tls)

    async def close(self, *, timeout: float = 2.0) -> None:  # noqa: ASYNC109 - a deadline, as HTTPServer has it
        """End the long polls, answer what is in work, close."""
        for polls in self._polls.values():
            for poll in polls:
                poll.end()
        await self.http.close(timeout=timeout)
        for timer in [*self._timers.values(), self._move_timer]:
            if timer is not None:
                timer.cancel()

    @property
    def endpoint_url(self) -> str:
        """What to give a client as its endpoint."""
        return self.http.url

    @property
    def clock_skew(self) -> float:
        """Seconds by which the clock that signatures and answers are dated by is ahead of the machine's."""
        return self.http.date.ahead

    @clock_skew.setter
    def clock_skew(self, seconds: float) -> None:
        self.http.date.ahead = seconds

    @property
    def waiting(self) -> int:
        """Long polls that wait."""
        return sum(len(polls) for polls in self._polls.values())

    def waiting_by_queue(self) -> dict[str, int]:
        """Long polls that wait, by queue name."""
        return {queue.name: len(polls) for queue, polls in self._polls.items()}

    def changed(self, queue: Queue) -> None:
        """Messages were put into a queue from beside the API: hand them out to those who wait."""
        self.account.changed.add(queue)
        self._wake()

    # --- one call

    def handle(self, request: Request) -> Any:
        """Answer a request: at once where nothing has to be waited for."""
        if request.target.startswith("/_sluice/"):
            return self._admin.handle(request)
        action = request.header(b"x-amz-target").removeprefix(_TARGET_PREFIX)
        if action not in self.actions.names:
            return self._error(_unknown(request))
        return self.call(request, action, self.authentication)

    def call(self, request: Request, action: str, authentication: Authentication | None = None) -> Any:
        """Do what a request asks, if it is signed as it should be; without `authentication` nobody asks."""
        count = self.counts.of(action)
        count.calls += 1
        try:
            parameters = json.loads(request.body or b"{}")
        except (ValueError, RecursionError):
            parameters = None
        if not isinstance(parameters, dict):
            count.errors += 1
            return self._error(SQSError("SerializationException", "The body is not a JSON object."))
        host = request.header(b"host")
        base_url = f"{self.http.scheme}://{host}" if host else self.http.url
        call = Call(parameters, self.clock.time(), base_url)
        refusal = None
        if authentication is not None:
            wall = time.time() + self.clock_skew
            refusal = authentication.refusal(request, action=action, base_url=base_url, now=call.now, wall=wall)
        if self.round_trip or self.jitter or len(self.faults):
            return self._with_trouble(request, action, call, count, refusal)
        if refusal is not None:
            count.errors += 1
            return self._error(refusal)
        if action == "ReceiveMessage":
            return self._receive(request, call, count)
        return self._perform(action, call, count)

    def _perform(self, action: str, call: Call, count: Count) -> Response:
        try:
            result = self.actions.perform(action, call)
        except SQSError as error:
            count.errors += 1
            return self._error(error)
        finally:
            # Also after an error: a batch or a look at an expired message may have changed something.
            if self.account.changed:
                self._wake()
        if action == "StartMessageMoveTask":
            self._run_moves()
        count.ok += 1
        if "Successful" in result:
            count.messages += len(result["Successful"])
            count.failed += len(result.get("Failed", ()))
        elif action in {"SendMessage", "DeleteMessage", "ChangeMessageVisibility"}:
            count.messages += 1
        return self._answer(result)

    def _receive(self, request: Request, call: Call, count: Count) -> Any:
        try:
            asked = self.actions.receive_asked(call.parameters)
            deliveries = self._take(asked)
            if not deliveries and not asked.wait and asked.queue.in_flight >= asked.queue.max_in_flight:
                raise _over_limit(asked.queue)
        except SQSError as error:
            count.errors += 1
            return self._error(error)
        if deliveries or not asked.wait:
            return self._received(asked, deliveries, count)
        return self._receive_later(asked, request, count)

    async def _receive_later(self, asked: Receive, request: Request, count: Count) -> Response:
        try:
            deliveries = await self._wait(asked, request)
        except SQSError as error:
            count.errors += 1
            return self._error(error)
        return self._received(asked, deliveries, count)

    def _received(self, asked: Receive, deliveries: list[Delivery], count: Count) -> Response:
        count.ok += 1
        count.messages += len(deliveries)
        count.empty += not deliveries
        return self._answer(received(asked, deliveries))

    # --- one call with a round trip and faults

    async def _with_trouble(
        self, request: Request, action: str, call: Call, count: Count, refusal: SQSError | None
    ) -> Answer:
        half = (self.round_trip + self._random.uniform(0.0, self.jitter)) / 2
        if half:
            await asyncio.sleep(half)
        url = call.parameters.get("QueueUrl") or call.parameters.get("QueueName")
        fault = self.faults.pick(action, queue_name(url) if isinstance(url, str) else None)
        if fault is not None:
            count.faults += 1
            if fault.kind == "black-hole":
                await request.gone()
            if fault.kind in {"black-hole", "drop"}:
                return None
        if refusal is not None:
            count.errors += 1
            answer: Answer = self._error(refusal)
        else:
            answer = await self._effect(request, action, call, count, fault)
        if half:
            await asyncio.sleep(half)
        return answer if fault is None else await _spoilt(answer, fault)

    async def _effect(self, request: Request, action: str, call: Call, count: Count, fault: Fault | None) -> Answer:
        if fault is not None and fault.kind in {"error", "throttle"}:
            count.errors += 1
            code, status = fault.error
            return self._error(SQSError(code, _fault_message(fault), status=status))
        call = Call(call.parameters, self.clock.time(), call.base_url)  # it arrives only now
        if action == "ReceiveMessage":
            return await self._receive_with_trouble(request, call, count, None if fault is None else fault.kind)
        return self._perform(action, call, count)

    async def _receive_with_trouble(self, request: Request, call: Call, count: Count, kind: str | None) -> Answer:
        stays_when_gone = kind == "deliver-to-gone"
        if request.is_gone and not stays_when_gone:
            return None  # it left on the way here: it must not be given messages
        try:
            asked = self.actions.receive_asked(call.parameters)
            stay_visible = kind == "duplicate"
            deliveries = self._take(asked, stay_visible=stay_visible)
            if not deliveries and asked.wait:
                deliveries = await self._wait(
                    asked, request, stay_visible=stay_visible, stays_when_gone=stays_when_gone
                )
            elif not deliveries and asked.queue.in_flight >= asked.queue.max_in_flight:
                raise _over_limit(asked.queue)
        except SQSError as error:
            count.errors += 1
            return self._error(error)
        return self._received(asked, deliveries, count)

    # --- long polls

    def _take(self, asked: Receive, *, stay_visible: bool = False) -> list[Delivery]:
        count, queue, now = asked.count, asked.queue, self.clock.time()
        if self.short_receives:
            queue.advance(now)
            count = self._random.randint(1, max(1, min(count, queue.visible)))
        deliveries = self.account.receive(
            now, queue, count=count, visibility=asked.visibility, stay_visible=stay_visible
        )
        if self.account.changed:
            self._wake()
        return deliveries

    async def _wait(
        self, asked: Receive, request: Request, *, stay_visible: bool = False, stays_when_gone: bool = False
    ) -> list[Delivery]:
        """Wait for messages: until there are some, the time is up, or the client has gone."""
        queue = asked.queue
        poll = Poll(
            asked,
            request,
            self._loop.create_future(),
            stay_visible=stay_visible,
            stays_when_gone=stays_when_gone,
        )
        polls = self._polls.setdefault(queue, OrderedDict())
        polls[poll] = None
        timer = self._loop.call_later(asked.wait, poll.end)
        if not stays_when_gone:
            request.when_gone(poll.end)
        self._arm(queue)
        try:
            return await poll.outcome
        finally:
            timer.cancel()
            polls.pop(poll, None)
            if not polls and self._polls.get(queue) is polls:
                del self._polls[queue]
                if (waker := self._timers.pop(queue, None)) is not None:
                    waker.cancel()

    def _wake(self) -> None:
        """Hand out what has become visible; that may move messages to a dead-letter queue that others wait for."""
        changed = self.account.changed
        while changed:
            queue = changed.pop()
            if queue in self._polls:
                self._hand_out(queue)
                self._arm(queue)

    def _hand_out(self, queue: Queue) -> None:
        polls = self._polls[queue]
        if self.account.queues.get(queue.name) is not queue:
            for poll in polls:
                if not poll.outcome.done():
                    poll.outcome.set_exception(SQSError("QueueDoesNotExist", "The specified queue does not exist."))
            return
        queue.advance(self.clock.time())
        while polls and queue.visible:
            poll, _ = polls.popitem(last=False)
            # Only one that still waits may take the messages: a poll that is over, or whose client has hung up,
            # would swallow them and the wake-up.
            if poll.outcome.done():
                continue
            if not poll.stays_when_gone and poll.request.has_gone_by_now():
                poll.end()
                continue
            deliveries = self._take(poll.asked, stay_visible=poll.stay_visible)
            if not deliveries:  # all moved to the dead-letter queue, or the quota is used up
                polls[poll] = None
                polls.move_to_end(poll, last=False)
                break
            poll.outcome.set_result(deliveries)

    def _arm(self, queue: Queue) -> None:
        """Come back when the next hidden message becomes visible, if somebody waits for it."""
        if (timer := self._timers.pop(queue, None)) is not None:
            timer.cancel()
        if queue not in self._polls or (due := queue.next_change()) is None:
            return
        seconds = self.clock.real_seconds_until(due)
        if seconds < 1e8:
            self._timers[queue] = self._loop.call_later(seconds, self._due, queue)

    def _due(self, queue: Queue) -> None:
        self._timers.pop(queue, None)
        self.account.changed.add(queue)
        self._wake()

    def clock_changed(self) -> None:
        """The clock was set, advanced or sped up: what is due now happens now."""
        self.account.changed.update(self._polls)
        self._wake()
        self._run_moves()

    def _run_moves(self) -> None:
        if self._move_timer is not None:
            self._move_timer.cancel()
            self._move_timer = None
        again = self.account.run_moves(self.clock.time(), at_most=_MOVED_AT_ONCE)
        self._wake()
        if again is not None and (seconds := self.clock.real_seconds_until(again)) < 1e8:
            self._move_timer = self._loop.call_later(seconds, self._run_moves)

    # --- answers

    def _request_id(self) -> tuple[str, str]:
        self._request_number += 1
        return ("x-amzn-RequestId", f"00000000-0000-4000-8000-{self._request_number:012x}")

    def _answer(self, result: dict[str, Any]) -> Response:
        return Response(200, _to_json(result).encode(), content_type=_CONTENT_TYPE, headers=(self._request_id(),))

    def _error(self, error: SQSError) -> Response:
        fault = "Sender" if error.is_senders_fault else "Receiver"
        return Response(
            error.status,
            _to_json({"__type": error.type, "message": error.message}).encode(),
            content_type=_CONTENT_TYPE,
            headers=(self._request_id(), ("x-amzn-query-error", f"{error.query_code};{fault}")),
        )


def _unknown(request: Request) -> SQSError:
    if request.header(b"content-type").startswith(_QUERY_PROTOCOL.decode()):
        return SQSError(
            "UnknownOperationException",
            "This server speaks SQS's JSON protocol only, and this is the older Query protocol: use a newer SDK.",
        )
    target = request.header(b"x-amz-target")
    if not target:
        return SQSError("UnknownOperationException", "The request has no X-Amz-Target header, as AmazonSQS.ListQueues.")
    return SQSError("UnknownOperationException", f"There is no action {target}.")


def _over_limit(queue: Queue) -> SQSError:
    return SQSError("OverLimit", f"Too many messages in flight: the limit is {queue.max_in_flight}.")


async def _spoilt(answer: Answer, fault: Fault) -> Answer:
    """What is left of an answer after a fault on its way back."""
    match fault.kind:
        case "slow":
            await asyncio.sleep(fault.seconds or 0.0)
        case "answer-lost":
            return None
        case "garbage":
            return Response(200, b"<html>this is not JSON</html>", content_type="text/html")
        case "truncated" if answer is not None:
            answer.breaks_off = True
    return answer


def _fault_message(fault: Fault) -> str:
    if fault.kind == "throttle":
        return "Rate exceeded (a fault that was asked for)."
    return f"A fault that was asked for: {fault.action}:{fault.kind}."
