"""Host names: what is asked, when it is asked again, and what stays when nobody answers."""

from __future__ import annotations

import pytest

from app.transport.engine import names as module
from app.transport.engine.names import Names

URL = "https://sqs.example/"


class Lookups:
    """Errands that run when the test says so, and the name server they ask."""

    def __init__(self, monkeypatch, clock):
        self.clock, self.errands, self.asked, self.gives = clock, [], [], ("10.0.0.1",)
        self.wakes, self.entries, self.has_threads = 0, [], True
        monkeypatch.setattr(module, "run_errand", self._run_errand)
        self.names = Names(look_up=self._look_up, wake=self._wake, clock=clock)

    def _wake(self):
        self.wakes += 1

    def _run_errand(self, call, *, name):
        if self.has_threads:
            self.errands.append(call)
        return self.has_threads

    def _look_up(self, host, port):
        self.asked.append((host, port))
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives

    def ask(self, url=URL):
        self.names.ask(url, self.entries.append)
        return self.entries

    def answer(self):
        for errand in self.errands:
            errand()
        self.errands.clear()
        self.names.turn()
        return self.entries


@pytest.fixture
def lookups(monkeypatch, manual_clock):
    return Lookups(monkeypatch, manual_clock)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9324/",
        "http://[::1]:9324/",
        "https://10.1.2.3/",
        "http://localhost/",
        "http://LOCALHOST:1/",
        "https://[fd00::1]/",
    ],
)
def test_an_address_and_this_machine_are_not_looked_up(lookups, url):
    assert lookups.ask(url) == [""]
    assert lookups.errands == []


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://sqs.example/", ("sqs.example", 443)),
        ("http://SQS.example", ("sqs.example", 80)),
        ("http://proxy:3128", ("proxy", 3128)),
        ("http://localhost.example/", ("localhost.example", 80)),
    ],
)
def test_a_name_is_looked_up_for_its_port(lookups, url, key):
    assert lookups.ask(url) == []
    assert lookups.answer() == [f"{key[0]}:{key[1]}:10.0.0.1"]
    assert lookups.asked == [key]
    assert lookups.wakes == 1


def test_all_who_ask_at_once_are_answered_by_one_lookup_and_once(lookups):
    for _ in range(5):
        lookups.ask()
    assert lookups.answer() == ["sqs.example:443:10.0.0.1"] * 5
    lookups.names.turn()
    assert len(lookups.entries) == 5
    assert len(lookups.asked) == 1


def test_several_addresses_are_all_told_those_of_ipv6_in_brackets(lookups):
    lookups.gives = ("10.0.0.1", "10.0.0.2", "fd00::1")
    lookups.ask()
    assert lookups.answer() == ["sqs.example:443:10.0.0.1,10.0.0.2,[fd00::1]"]


def test_addresses_are_used_for_a_minute_and_the_old_ones_while_new_ones_are_asked_for(lookups):
    lookups.ask()
    lookups.answer()
    lookups.clock.advance(59)
    lookups.ask()
    assert lookups.errands == []
    lookups.clock.advance(1)
    lookups.gives = ("10.0.0.2",)
    assert lookups.ask() == ["sqs.example:443:10.0.0.1"] * 3
    assert len(lookups.errands) == 1
    lookups.answer()
    assert lookups.ask()[-1] == "sqs.example:443:10.0.0.2"


@pytest.mark.parametrize("trouble", [OSError("no answer"), UnicodeError("label too long"), ()])
def test_the_old_ones_stay_as_long_as_no_new_ones_come(lookups, trouble):
    lookups.ask()
    lookups.answer()
    lookups.gives = trouble
    for _ in range(3):
        lookups.clock.advance(60)
        lookups.ask()
        lookups.answer()
    assert len(lookups.asked) == 4
    assert lookups.ask() == ["sqs.example:443:10.0.0.1"] * 5


def test_a_name_that_is_not_found_is_asked_for_again_after_a_second_and_not_before(lookups):
    lookups.gives = OSError("unknown")
    lookups.ask()
    assert lookups.answer() == [None]
    assert lookups.ask() == [None, None]
    lookups.clock.advance(1)
    lookups.gives = ("10.0.0.1",)
    lookups.ask()
    assert lookups.answer() == [None, None, "sqs.example:443:10.0.0.1"]


def test_a_lookup_that_breaks_in_an_unknown_way_is_over_nevertheless(lookups):
    lookups.gives = MemoryError()
    lookups.ask()
    with pytest.raises(MemoryError):
        lookups.answer()
    lookups.names.turn()
    assert lookups.entries == [None]


def test_where_there_is_no_thread_for_a_lookup_the_name_is_not_found_for_now(lookups):
    lookups.has_threads = False
    assert lookups.ask() == [None]
    lookups.has_threads = True
    lookups.clock.advance(1)
    lookups.ask()
    assert lookups.answer() == [None, "sqs.example:443:10.0.0.1"]


def test_each_host_and_port_is_a_name_of_its_own(lookups):
    lookups.ask("https://a.example/")
    lookups.ask("https://a.example:8443/")
    lookups.ask("https://b.example/")
    lookups.answer()
    assert sorted(lookups.asked) == [("a.example", 443), ("a.example", 8443), ("b.example", 443)]


def test_who_asks_again_out_of_an_answer_is_answered_too(lookups):
    lookups.names.ask(URL, lambda _: lookups.names.ask("https://other.example", lookups.entries.append))
    lookups.answer()
    assert lookups.answer() == ["other.example:443:10.0.0.1"]
