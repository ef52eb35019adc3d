"""Queues with messages, and a consumer with a pool, around the real intake, receivers and custody."""

from __future__ import annotations

from collections import defaultdict, deque

from fake_engine import FakeEngine, message, sent, well

from app.outcome import DONE
from app.transport.custody import Custody
from app.transport.engine import Failure, Kind
from app.transport.intake import Intake
from app.transport.options import Options

#: Seconds that a call takes there and back.
TRIP = 0.01
MISSING = Failure(Kind.QUEUE_MISSING, "QueueDoesNotExist")


class FakeInbox:
    """Runs what is put into it; in the engine's turn, since a test has one thread."""

    def __init__(self, engine):
        self._engine = engine
        self.is_closed = False

    def put(self, call, *arguments):
        if not self.is_closed:
            self._engine.call_soon(call, *arguments)
        return not self.is_closed


class World:
    """One worker that receives.

    Args:
        slots: places in the pool; None: a plain client.
        grows_to: places that the pool can grow to.
        most: messages held at most.
        seconds: how long each task runs; None: until the test settles it.
        options: the transport's.
    """

    def __init__(self, *, slots=4, grows_to=None, most=None, seconds=0.1, **options):
        self.engine = FakeEngine(self._reply)
        self.options = Options(**options)
        self.custody = Custody(self.engine, self.options)
        self.inbox = FakeInbox(self.engine)
        self.slots, self.seconds = slots, seconds
        self.queues, self.open, self.given, self.missing = defaultdict(deque), [], [], []
        #: What receives are answered with instead of messages, while it is not None.
        self.fault = None
        #: What a queue says of itself: how many messages are in flight, or what is answered instead.
        self.in_flight, self.attributes = 0, None
        #: Queues that are not there.
        self.missing_queues = set()
        #: Whether empty receives are answered at once, as some proxies do.
        self.does_not_wait = False
        self.intake = Intake(
            self.custody,
            self.options,
            inbox=self.inbox,
            places=None if slots is None else lambda: self.slots,
            most_places=None if slots is None else lambda: grows_to or self.slots,
            give=self._give,
            when_missing=self.missing.append,
        )
        self.intake.prefetch = most or grows_to or slots or 0
        #: Whether what is handed back comes again; and what was given out, by receipt.
        self.gives_again = False
        self.in_work = {}
        #: Slots taken when they were most: messages held, and asked for.
        self.most_taken = 0

    def consume(self, *queues):
        for queue in queues:
            self.intake.consume(queue, f"https://sqs.example/{queue}")
        self.engine.turn()

    def send(self, queue, count=1, **options):
        self.put(queue, *(message(**options) for _ in range(count)))

    def put(self, queue, *messages):
        """Each is a reason to answer one of the receives that wait."""
        self.queues[queue].extend(messages)
        waiting = [poll for poll in self.open if poll.queue == queue]
        for poll in waiting[: len(messages)]:
            self._end(poll)

    def receives(self, queue=None):
        """The receives so far, of one queue or of all."""
        calls = self.engine.calls.of("ReceiveMessage")
        return [call for call in calls if queue in (None, _queue(call))]

    def counts(self, queue=None):
        """How many messages each of them asked for."""
        return [call.parameters["MaxNumberOfMessages"] for call in self.receives(queue)]

    def _reply(self, call):
        if call.action == "GetQueueAttributes":
            attributes = {"ApproximateNumberOfMessagesNotVisible": str(self.in_flight)}
            return TRIP, self.attributes or {"Attributes": attributes}
        if call.action in ("GetQueueUrl", "ReceiveMessage") and _queue(call) in self.missing_queues:
            return TRIP, MISSING
        if call.action == "GetQueueUrl":
            return TRIP, self.fault or {"QueueUrl": f"https://sqs.example/{_queue(call)}"}
        if call.action == "ChangeMessageVisibilityBatch" and self.gives_again:
            self._make_visible(call)
        if call.action != "ReceiveMessage":
            return TRIP, sent(call) if call.action == "SendMessageBatch" else well(call)
        window = self.intake._window
        self.most_taken = max(self.most_taken, window.held + window._reserved.total())
        if self.fault is not None:
            return TRIP, self.fault
        poll = Poll(call, self)
        if self.queues[poll.queue] or self.does_not_wait:
            self.engine.call_later(TRIP, poll.answer)
        else:
            self.open.append(poll)
            self.engine.call_later(call.parameters["WaitTimeSeconds"], self._end, poll)
        return None

    def _make_visible(self, call):
        """What is handed back comes again, one receive older."""
        for entry in call.entries:
            if (again := self.in_work.pop(entry["ReceiptHandle"], None)) is not None:
                count = int(again["Attributes"]["ApproximateReceiveCount"]) + 1
                again["Attributes"] |= {"ApproximateReceiveCount": str(count)}
                self.engine.call_later(entry["VisibilityTimeout"], self.put, _queue(call), again)

    def _end(self, poll):
        if poll in self.open:
            self.open.remove(poll)
            self.engine.call_later(TRIP, poll.answer)

    def _give(self, delivery):
        self.given.append(delivery)
        if self.slots is None:
            return
        if delivery.enter_pool(limit=None):
            delivery.started(limit=None)
            if self.seconds is not None:
                self.engine.call_later(self.seconds, delivery.settle, DONE)


class Poll:
    """A receive that waits."""

    def __init__(self, call, world):
        self.call, self.queue, self._world = call, _queue(call), world

    def answer(self):
        messages = self._world.queues[self.queue]
        count = min(len(messages), self.call.parameters["MaxNumberOfMessages"])
        given = [messages.popleft() for _ in range(count)]
        self._world.in_work.update({each["ReceiptHandle"]: each for each in given})
        self.call.answer({"Messages": given})


def _queue(call):
    return (call.parameters.get("QueueUrl") or call.parameters["QueueName"]).rpartition("/")[2]
