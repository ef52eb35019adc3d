"""Messages that are done do not run again, as far as can be remembered."""

from __future__ import annotations

from app.transport.custody.done import Done


def test_what_is_done_is_known_before_and_after_it_is_deleted():
    done = Done()
    assert "a" not in done
    done.add("a")
    assert "a" in done
    assert not done.is_deleted("a")
    done.deleted("a")
    assert "a" in done
    assert done.is_deleted("a")


def test_what_comes_back_is_to_be_deleted_again():
    done = Done()
    done.add("a")
    done.deleted("a")
    done.add("a")
    assert "a" in done
    assert not done.is_deleted("a")


def test_what_could_not_be_deleted_is_remembered_however_many_others_were():
    done = Done(most=3)
    done.add("stays")
    for n in range(100):
        done.add(f"{n}")
        done.deleted(f"{n}")
    assert "stays" in done
    assert [f"{n}" in done for n in (0, 96, 97, 99)] == [False, False, True, True]


def test_it_is_bounded_and_forgets_the_oldest():
    done = Done(most=2)
    done.add("a")
    done.add("b")
    done.add("a")
    done.add("c")
    assert ["a" in done, "b" in done, "c" in done] == [True, False, True]


def test_it_is_remembered_whether_more_is_to_come_of_it():
    done = Done()
    done.add("ran")
    done.add("sent on", for_good=False)
    for _ in range(2):
        assert [done.is_for_good(each) for each in ("ran", "sent on", "other")] == [True, False, False]
        done.again("ran")
        done.again("sent on")
    for _ in range(2):  # of two deletes on their way both may be confirmed
        done.deleted("ran")
        done.deleted("sent on")
    assert [done.is_for_good(each) for each in ("ran", "sent on", "other")] == [True, False, False]
    done.deleted("never done")
    assert not done.is_for_good("never done")
