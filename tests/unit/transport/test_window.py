"""The slots: never more received than there are."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.transport.intake.window import Window

MIB = 2**20


def held(window, queue="orders", *, size=100):
    delivery = SimpleNamespace(queue=queue, size=size)
    window.hold(delivery)
    return delivery


def seen(window, *queues, size=100):
    """Each queue has had a message, and it is settled."""
    for queue in queues:
        window.free_slot(held(window, queue, size=size))


def window_of(size, *, most_bytes=64 * MIB):
    window = Window(lambda: size, most_bytes=most_bytes)
    seen(window, "orders", "mails")
    return window


def test_held_and_reserved_slots_are_not_free():
    window = window_of(20)
    reservation = window.reserve("orders", 8)
    held(window, "mails")
    assert window.free("orders") == window.free("mails") == 11
    window.release(reservation)
    assert window.free("orders") == 19
    assert (window.held, window.held_of("mails"), window.held_of("orders")) == (1, 1, 0)


def test_one_message_without_a_slot_may_be_asked_for_by_a_queue_that_may_have_one_more():
    window = window_of(2, most_bytes=1000)
    window.reserve("orders", 2)
    assert window.may_ask_for_one("mails")
    held(window, "mails")
    assert window.may_ask_for_one("mails", cap=2)
    assert not window.may_ask_for_one("mails", cap=1)
    large = held(window, "invoices", size=990)
    assert not window.may_ask_for_one("mails", cap=2)
    window.free_slot(large)
    held(window, "mails")
    assert not window.may_ask_for_one("orders")


def test_a_queue_has_no_more_than_its_own_cap_held_and_asked_for():
    window = window_of(20)
    window.reserve("orders", 3)
    held(window, "orders")
    assert window.free("orders", cap=5) == 1
    assert window.free("orders", cap=4) == window.free("orders", cap=2) == 0
    assert window.free("mails", cap=5) == 5


def test_a_window_that_has_shrunk_below_what_it_holds_has_nothing_free():
    sizes = [20]
    window = Window(lambda: sizes[0], most_bytes=MIB)
    for _ in range(10):
        held(window)
    sizes[0] = 4
    assert window.free("orders") == 0


def test_nothing_more_is_asked_for_than_there_are_bytes_for():
    window = window_of(100, most_bytes=1000)
    assert window.free("orders") == 10
    held(window, size=300)
    assert window.free("orders") == 2  # they may all be as large


def test_one_message_may_exceed_the_bytes():
    window = Window(lambda: 10, most_bytes=MIB // 2)
    assert window.free("orders") == 1
    large = held(window, size=MIB)
    assert window.free("orders") == window.free("mails") == 0
    window.free_slot(large)
    assert window.free("orders") == 1


def test_of_a_queue_that_is_not_known_messages_count_as_the_largest_until_one_is_seen():
    window = Window(lambda: 100, most_bytes=64 * MIB)
    assert window.free("orders") == 64
    held(window, size=1000)
    assert window.free("orders") == 99


def test_what_idle_queues_have_reserved_keeps_no_other_queue_from_asking():
    """Reserved by the size of the largest messages, ten queues' receives are more than all the bytes there are."""
    window = Window(lambda: 1000, most_bytes=8 * MIB)
    queues = [f"queue-{n}" for n in range(30)]
    for queue in queues:
        count = window.free(queue)
        assert count >= 1
        window.reserve(queue, min(10, count))
    for queue in queues:
        seen(window, queue, size=MIB)
    assert window.free("queue-0") == 0  # it has asked already
    assert window.free("one-more") == 1


def test_the_expected_size_grows_at_once_and_shrinks_slowly():
    window = Window(lambda: 1000, most_bytes=MIB)
    seen(window, "orders", size=MIB // 2)
    seen(window, "orders", size=10)
    assert window.free("orders") == 2
    for _ in range(700):
        seen(window, "orders", size=10)
    assert window.free("orders") > 500


class Slots(RuleBasedStateMachine):
    """Receives that bring what they were promised, or less, in any order, while the window grows and shrinks."""

    @initialize(size=st.integers(0, 40), most_bytes=st.integers(1, 5000))
    def begin(self, size, most_bytes):
        self.size, self.most_bytes = size, most_bytes
        self.window = Window(lambda: self.size, most_bytes=most_bytes)
        self.asked, self.held, self.sizes = [], [], {"a": 10, "b": 700, "c": 3000}

    @rule(queue=st.sampled_from("abc"), most=st.integers(1, 10), cap=st.none() | st.integers(1, 50))
    def ask(self, queue, most, cap):
        count = min(most, self.window.free(queue, cap=cap))
        if count:
            self.asked.append(self.window.reserve(queue, count))
            mine = sum(each.count for each in self.asked if each.queue == queue) + self.window.held_of(queue)
            assert cap is None or mine <= cap
            assert len(self.held) + sum(each.count for each in self.asked) <= self.size

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def answer(self, data):
        reservation = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        self.window.release(reservation)
        for _ in range(data.draw(st.integers(0, reservation.count))):
            self.held.append(held(self.window, reservation.queue, size=self.sizes[reservation.queue]))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settle(self, data):
        self.window.free_slot(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @rule(size=st.integers(0, 40))
    def resize(self, size):
        self.size = size

    @invariant()
    def counts(self):
        assert self.window.held == len(self.held)
        assert self.window.held_bytes == sum(each.size for each in self.held)
        assert self.window.held_bytes <= self.most_bytes + sum(self.sizes.values())  # one message of each queue
        for queue in "abc":
            assert self.window.free(queue) >= 0

    @precondition(lambda self: self.size and not self.held and not self.asked)
    @rule(queue=st.sampled_from("abc"))
    def empty_means_that_something_may_be_asked_for(self, queue):
        assert self.window.free(queue) >= 1


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
