"""An engine without a thread and without a network: time passes when a test says so, SQS answers what a test says."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from app.testing.clock import ManualClock
from app.transport.custody.delivery import Delivery
from app.transport.engine import Failure, Kind

PASSING = Failure(Kind.PASSING, "InternalError")
THROTTLED = Failure(Kind.THROTTLED, "RequestThrottled")
RECEIPT = Failure(Kind.RECEIPT, "ReceiptHandleIsInvalid")
PERMANENT = Failure(Kind.PERMANENT, "InvalidParameterValue")


class Timer:
    def __init__(self, call, arguments):
        self.call, self.arguments = call, arguments

    def cancel(self):
        self.call = None


@dataclass
class Call:
    """A call that was made, and `answer` to answer it."""

    action: str
    parameters: dict
    done: object
    at: float
    within: float = 0.0
    answers: int = 0

    @property
    def entries(self):
        return self.parameters["Entries"]

    @property
    def receipts(self):
        return [entry["ReceiptHandle"] for entry in self.entries]

    def answer(self, answer):
        """Answer it; nothing is answered twice."""
        self.answers += 1
        assert self.answers == 1
        self.done(answer)


@dataclass
class Calls:
    """Keeps what is called. `reply` says what is answered and how many seconds later; None: the test answers itself."""

    engine: FakeEngine
    reply: object = None
    made: list[Call] = field(default_factory=list)

    def call(self, action, parameters, done, *, wait=0.0, within=10.0):
        call = Call(action, parameters, done, self.engine.clock.monotonic(), within)
        self.made.append(call)
        if self.reply is not None and (reply := self.reply(call)) is not None:
            seconds, answer = reply
            self.engine.call_later(seconds, call.answer, answer)

    def of(self, action):
        return [call for call in self.made if call.action == action]

    def take(self):
        """What was called since the last time."""
        made, self.made = self.made, []
        return made


class FakeEngine:
    """What an engine offers to those who use it."""

    def __init__(self, reply=None):
        self.clock = ManualClock()
        self.calls = Calls(self, reply)
        self._handed_in = []
        self._timers = []
        self._order = itertools.count()
        self.is_stopped = False
        self.late_by = 0.0

    def call_soon(self, call, *arguments):
        self._handed_in.append((call, arguments))

    def call_later(self, delay, call, *arguments):
        assert delay >= 0
        timer = Timer(call, arguments)
        heapq.heappush(self._timers, (self.clock.monotonic() + delay, next(self._order), timer))
        return timer

    def stop(self, timeout):
        self.is_stopped = True

    @property
    def timers(self):
        """What is to be done later and was not cancelled."""
        return [timer for _, _, timer in self._timers if timer.call is not None]

    def turn(self):
        """Do all that is to be done now; bounded, since what always does more is a fault."""
        for _ in range(100_000):
            handed_in, self._handed_in = self._handed_in, []
            for call, arguments in handed_in:
                call(*arguments)
            if not handed_in and not self._do_due():
                return
        raise AssertionError("it never comes to rest")

    def _do_due(self):
        due = []
        while self._timers and self._timers[0][0] <= self.clock.monotonic():
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            if timer.call is not None:
                timer.call(*timer.arguments)
        if due:
            self.clock.advance(1e-9)  # it takes time, and what waits for a rounded rest of a time relies on that
        return bool(due)

    def advance(self, seconds):
        """Let time pass, and all be done at its time."""
        self.turn()
        until = self.clock.monotonic() + seconds
        while self._timers and self._timers[0][0] <= until:
            self._pass_until(self._timers[0][0])
        self._pass_until(until)

    def _pass_until(self, instant):
        now = self.clock.monotonic()
        while now < instant:  # once, but for what floats round off
            self.clock.advance(max(instant - now, 1e-9))
            now = self.clock.monotonic()
        self.turn()

    def jump(self, seconds):
        """Let time pass while the process stands still, as after SIGSTOP."""
        self.clock.advance(seconds)
        self.turn()


def well(call):
    """The answer to a batch of which every entry went well."""
    return {"Successful": [{"Id": entry["Id"]} for entry in call.entries], "Failed": []}


def sent(call):
    """The answer to a batch of messages all of which were taken."""
    return {"Successful": [{"Id": entry["Id"], "MessageId": f"copy-{entry['Id']}"} for entry in call.entries]}


def badly(call, *, code="InternalError", sender_fault=False):
    """The answer to a batch of which no entry went well."""
    failed = [{"Id": entry["Id"], "Code": code, "SenderFault": sender_fault} for entry in call.entries]
    return {"Successful": [], "Failed": failed}


class FakeIntake:
    """Remembers what became of its deliveries."""

    def __init__(self):
        self.slots_freed, self.gone, self.in_pool = [], [], []

    def settled(self, delivery):
        self.slots_freed.append(delivery)

    def left(self, delivery):
        self.gone.append(delivery)

    def entered(self, delivery):
        self.in_pool.append(delivery)


_numbers = itertools.count(1)


def message(message_id=None, *, body="{}", receipt=None):
    number = next(_numbers)
    return {
        "MessageId": message_id or f"message-{number}",
        "ReceiptHandle": receipt or f"receipt-{number}",
        "Body": body,
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
    }


def delivery(custody, intake=None, *, message_id=None, receipt=None, body="{}", visibility=60, queue="orders"):
    """A message that is received now."""
    return Delivery(
        message(message_id, body=body, receipt=receipt),
        queue=queue,
        url=f"https://sqs.example/{queue}",
        visibility=visibility,
        now=custody.engine.clock.monotonic(),
        custody=custody,
        intake=intake or FakeIntake(),
    )
