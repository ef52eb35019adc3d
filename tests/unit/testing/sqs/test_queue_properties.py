"""Whatever happens to a queue, in whatever order: nothing is lost, nothing is given twice, the counters are true."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.testing.sqs.attributes import QueueAttributes
from app.testing.sqs.errors import SQSError
from app.testing.sqs.message import State, draft
from app.testing.sqs.queue import MAX_VISIBILITY, Queue

RETENTION = 3600
VISIBILITY = 30
MAX_RECEIVES = 3


class QueueMachine(RuleBasedStateMachine):
    """A model that keeps, of each message, only what AWS's documentation says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        source = random.Random(1)
        self.dead = Queue("dead", arn="arn:dead", attributes=QueueAttributes(), now=self.now, random_source=source)
        self.queue = Queue(
            "q",
            arn="arn:q",
            attributes=QueueAttributes(
                {
                    "VisibilityTimeout": str(VISIBILITY),
                    "MessageRetentionPeriod": str(RETENTION),
                    "RedrivePolicy": f'{{"deadLetterTargetArn": "arn:dead", "maxReceiveCount": {MAX_RECEIVES}}}',
                }
            ),
            now=self.now,
            random_source=source,
            max_in_flight=12,
        )
        self.sent_at: dict[str, float] = {}
        self.hidden_until: dict[str, float] = {}
        self.received_at: dict[str, float] = {}
        self.receives: Counter[str] = Counter()
        self.latest: dict[str, str] = {}
        self.handles: list[tuple[str, str]] = []

    def forget_expired(self) -> None:
        for message_id, sent_at in list(self.sent_at.items()):
            if sent_at + RETENTION <= self.now:
                del self.sent_at[message_id]

    def is_hidden(self, message_id: str) -> bool:
        return self.hidden_until.get(message_id, 0) > self.now

    @rule(delay=st.sampled_from([0, 0, 0, 5, 900]))
    def send(self, delay):
        message = self.queue.send(self.now, draft({"MessageBody": "x"}), delay=delay)
        self.sent_at[message.id] = self.now
        self.hidden_until[message.id] = self.now + delay

    @rule(seconds=st.sampled_from([0.5, 1, 10, 29, 30, 31, 1000]))
    def time_passes(self, seconds):
        self.now += seconds
        self.forget_expired()

    @rule(count=st.integers(1, 10), visibility=st.sampled_from([None, 0, 5, 43_200]))
    def receive(self, count, visibility):
        in_flight = sum(1 for i in self.sent_at if self.is_hidden(i) and self.receives[i])
        expected = {i for i in self.sent_at if not self.is_hidden(i)}
        deliveries = self.queue.receive(self.now, count=count, visibility=visibility, dead_letters=self.dead)
        given = [delivery.message.id for delivery in deliveries]
        assert len(given) == len(set(given)), "one message twice in one answer"
        assert set(given) <= expected, "a message that is hidden, deleted or expired"
        too_often = {i for i in expected if self.receives[i] >= MAX_RECEIVES}
        assert not set(given) & too_often, "received more often than the policy allows"
        assert len(given) == min(count, len(expected - too_often), 12 - in_flight), "held back without a reason"
        for delivery in deliveries:
            message_id = delivery.message.id
            self.receives[message_id] += 1
            assert delivery.receives == self.receives[message_id]
            self.received_at[message_id] = self.now
            self.hidden_until[message_id] = self.now + (VISIBILITY if visibility is None else visibility)
            self.latest[message_id] = delivery.receipt_handle
            self.handles.append((message_id, delivery.receipt_handle))
        for message in self.dead:
            if message.id in self.sent_at:
                assert message.id in too_often
                assert message.sent_at == self.sent_at.pop(message.id)

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def delete(self, data):
        message_id, handle = data.draw(st.sampled_from(self.handles))
        self.queue.advance(self.now)
        went = self.queue.delete(handle)
        assert went == (message_id in self.sent_at and self.latest[message_id] == handle)
        if went:
            del self.sent_at[message_id]

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), timeout=st.sampled_from([0, 1, 30, 43_199, 43_200]))
    def change_visibility(self, data, timeout):
        message_id, handle = data.draw(st.sampled_from(self.handles))
        try:
            self.queue.change_visibility(self.now, handle, timeout)
        except SQSError as error:
            if error.name == "MessageNotInflight":
                assert message_id in self.sent_at
                assert not self.is_hidden(message_id)
            elif "Total VisibilityTimeout" in error.message:
                assert self.now + timeout > self.received_at[message_id] + MAX_VISIBILITY
            else:
                assert message_id not in self.sent_at
        else:
            assert message_id in self.sent_at
            assert self.is_hidden(message_id)
            self.hidden_until[message_id] = self.now + timeout

    @invariant()
    def nothing_is_lost_and_the_counters_are_true(self):
        self.queue.advance(self.now)
        assert {message.id for message in self.queue} == set(self.sent_at)
        states = Counter(message.state for message in self.queue)
        assert (self.queue.visible, self.queue.in_flight, self.queue.delayed) == (
            states[State.VISIBLE],
            states[State.IN_FLIGHT],
            states[State.DELAYED],
        )
        assert self.queue.visible == sum(not self.is_hidden(i) for i in self.sent_at)
        due = self.queue.next_change()
        hidden = [self.hidden_until[i] for i in self.sent_at if self.is_hidden(i)]
        assert due == (min(hidden) if hidden else None)


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase
