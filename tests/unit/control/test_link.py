"""The link's address, and what is never shown of it."""

from __future__ import annotations

import pytest

from app.control.link import ControlLink, LinkOptions, control_link
from app.control.state import LinkState
from app.control.transport import is_control


@pytest.mark.parametrize(
    ("url", "tls"),
    [
        ("redis://localhost/3", False),
        ("rediss://:secret@elsewhere.example:6380/3", True),
        ("unix:///run/v?db=3", False),
    ],
)
def test_plain_encrypted_and_local_addresses_are_taken(url, tls):
    link = ControlLink(url)
    assert ("SSL" in link._redis.connection_pool.connection_class.__name__) is tls
    assert link._prefix == "/3."


def test_the_password_is_never_shown():
    options = LinkOptions("redis://:secret@here/0")
    assert "secret" not in f"{options} {options!r} {options.__json__()} {ControlLink(options.url)!r}"


def test_connections_to_two_links_are_not_taken_for_one_another():
    """Kombu pools them by this text."""
    assert repr(LinkOptions("redis://here")) != repr(LinkOptions("redis://there"))
    assert repr(LinkOptions("redis://here")) == repr(LinkOptions("redis://here"))


def test_a_process_has_one_link_to_an_address():
    assert control_link("redis://here") is control_link("redis://here")


def test_what_was_left_unread_goes_to_who_has_taken_over_and_to_nobody_else():
    link, got = ControlLink("redis://here"), []
    link.take_over("a", got.append)
    link.hand_on("a", "left")
    link.hand_on("b", "nobody's")
    link.unsubscribe("a", got.append)
    link.hand_on("a", "nobody's any more")
    assert got == ["left"]


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("celery.pidbox", True),
        ("reply.celery.pidbox", True),
        ("w@h.celery.pidbox", True),
        ("celeryev", True),
        ("celeryev.4f6d", True),
        ("orders", False),
        ("celery", False),
    ],
)
def test_celerys_own_names_go_over_the_link_and_no_others(name, is_it):
    assert is_control(name) is is_it


def test_the_link_is_up_again_when_both_directions_work(caplog, manual_clock):
    state = LinkState(clock=manual_clock)
    state.fails("publish", OSError("away"))
    state.fails("listen", OSError())
    manual_clock.advance(7)
    state.works("publish")
    assert not state.is_up
    state.works("listen")
    state.works("listen")
    assert state.is_up
    assert [record.getMessage() for record in caplog.records] == [
        "The control link is down (away): tasks go on; Flower and remote control are blind until it is back",
        "The control link is up again after 7 s; 0 events were dropped so far",
    ]
