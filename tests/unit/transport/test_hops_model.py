"""Messages on their way through a long delay, with workers that stall, die and are answered badly: none is lost.

A model of SQS with as much of it as matters here: a message is invisible while somebody has it, the newest receipt
counts, a call may fail before or after it has taken effect.
"""

from __future__ import annotations

import random

import pytest
from fake_engine import PASSING, FakeEngine, FakeIntake

from app.outcome import DONE, RETURNED, early, retry
from app.testing.clock import ManualClock
from app.transport.custody import Custody
from app.transport.custody.delivery import Delivery
from app.transport.options import Options

LEASE = 10
QUEUE = "https://sqs.example/orders"


class SQS:
    """One queue."""

    def __init__(self, clock, chance):
        self.clock, self.chance = clock, chance
        self.messages, self.count = {}, 0
        self.is_well = False

    def send(self, attributes=None, delay=0):
        self.count += 1
        visible_at = self.clock.monotonic() + delay
        self.messages[f"m{self.count}"] = {"attributes": attributes or {}, "visible_at": visible_at, "receipt": ""}
        return f"m{self.count}"

    def receive(self):
        """One message that is visible."""
        now = self.clock.monotonic()
        visible = [each for each, message in self.messages.items() if message["visible_at"] <= now]
        if not visible:
            return None
        message_id = self.chance.choice(visible)
        self.count += 1
        message = self.messages[message_id]
        message.update(visible_at=now + LEASE, receipt=f"{message_id} {self.count}")
        return message_id, message

    def answer(self, call):
        trouble = None if self.is_well else self.chance.choice([None, None, "before", "after"])
        if trouble == "before" or call.action == "GetQueueAttributes":
            return 0.01, PASSING
        successful = [self._do(call.action, entry) for entry in call.entries]
        return 0.01, PASSING if trouble == "after" else {"Successful": successful}

    def _do(self, action, entry):
        if action == "SendMessageBatch":
            return {"Id": entry["Id"], "MessageId": self.send(entry["MessageAttributes"], entry.get("DelaySeconds", 0))}
        message_id, _ = entry["ReceiptHandle"].split()
        message = self.messages.get(message_id)
        if message is not None and message["receipt"] == entry["ReceiptHandle"]:
            if action == "DeleteMessageBatch":
                del self.messages[message_id]
            else:
                message["visible_at"] = self.clock.monotonic() + entry["VisibilityTimeout"]
        return {"Id": entry["Id"]}


class Worker:
    """One process."""

    def __init__(self, sqs):
        self.sqs = sqs
        self.engine = FakeEngine(sqs.answer)
        self.engine.clock = sqs.clock
        self.custody = Custody(self.engine, Options(retry_first=1.0, retry_most=5.0, longest_delay=5))
        self.in_work = []
        self.stalls_until = 0.0

    def receive(self):
        if (received := self.sqs.receive()) is None:
            return
        message_id, message = received
        delivery = Delivery(
            {"MessageId": message_id, "ReceiptHandle": message["receipt"], "Body": "{}"},
            queue="orders",
            url=QUEUE,
            visibility=LEASE,
            now=self.sqs.clock.monotonic(),
            custody=self.custody,
            intake=FakeIntake(),
        )
        delivery.message_attributes = message["attributes"]
        if self.custody.take(delivery):
            self.in_work.append(delivery)

    def end(self, outcome):
        """Settle something; whether that was done."""
        delivery = self.in_work.pop()
        if delivery.is_settled or (not delivery.claim() and delivery.is_settled):
            return False
        delivery.settle(outcome)
        return outcome is DONE


class Life:
    """What befalls one message, by chance."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.sqs = SQS(self.clock, self.chance)
        self.workers = [Worker(self.sqs) for _ in range(3)]
        self.outcomes = [early(8.0), early(8.0), early(8.0), RETURNED, retry(2.0)] + [DONE] * (seed % 3 == 0)
        #: How often its task ran.
        self.done = 0
        self.sqs.send()

    def awake(self):
        return [worker for worker in self.workers if worker.stalls_until <= self.clock.monotonic()]

    def go_on(self, seconds):
        self.clock.advance(seconds)
        for worker in self.awake():
            worker.engine.turn()

    def trouble(self):
        worker, what = self.chance.choice(self.awake() or self.workers), self.chance.random()
        if what < 0.5:
            worker.receive()
        elif what < 0.9 and worker.in_work:
            self.done += worker.end(self.chance.choice(self.outcomes))
        elif what > 0.98:
            self.workers[self.workers.index(worker)] = Worker(self.sqs)
        elif what > 0.93:
            worker.stalls_until = self.clock.monotonic() + self.chance.choice([5, 15, 30])
        self.go_on(self.chance.choice([0.02, 0.3, 2.0]))

    def end(self):
        """All is well again, and what comes is done."""
        self.sqs.is_well = True
        for _ in range(2_000):
            for worker in self.awake()[:1]:
                worker.receive()
                while worker.in_work:
                    self.done += worker.end(DONE)
            self.chance.shuffle(self.workers)
            self.go_on(0.5)
            if not self.sqs.messages:
                return
        raise AssertionError("the queue is never empty")


@pytest.mark.parametrize("block", range(4))
def test_however_it_goes_the_task_is_done(block):
    for seed in range(block * 80, block * 80 + 80):
        life = Life(seed)
        for _ in range(120):
            life.trouble()
        life.end()
        assert life.done >= 1, f"seed {seed}: lost"
