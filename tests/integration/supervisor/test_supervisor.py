"""Programs that are really started, really killed and really stopped."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest


def pid_of(supervised, name: str) -> int:
    return [int(line.split()[2]) for line in supervised.events() if line.startswith(f"started {name} ")][-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stages_start_in_order_and_stop_in_the_opposite_order(supervise, number):
    # Given three stages that are up
    supervised = supervise("three")
    supervised.wait_for("started sender")
    # When a signal asks to stop
    os.kill(supervised.process.pid, number)
    status, output = supervised.finish()
    # Then each stage was started after the one before it was ready, and stopped before it
    assert status == 0, output
    started = [line.split()[1] for line in supervised.events() if line.startswith("started")]
    ended = [line.split()[1] for line in supervised.events() if line.startswith("ended")]
    assert started[0] == "server"
    assert started[-1] == "sender"
    assert ended[0] == "sender"
    assert set(ended[1:3]) == {"worker", "web"}
    assert ended[3:] == ["server"]
    assert "server is ready at http://127.0.0.1:1\n" in output
    assert "worker is ready at worker:1\n" in output
    # And not even a worker's child that does not listen to SIGTERM is left
    supervised.nothing_is_left()


def test_a_terminals_ctrl_c_reaches_the_supervisor_only(supervise):
    supervised = supervise("three")
    supervised.wait_for("started sender")
    os.killpg(supervised.process.pid, signal.SIGINT)
    supervised.finish()
    assert not [line for line in supervised.events() if line.startswith("SIGINT")]
    supervised.nothing_is_left()


def test_a_terminal_that_is_closed_stops_everything_in_order(tmp_path, supervise):
    # Given the supervisor on a terminal of its own
    supervised = supervise("three", terminal=True)
    supervised.wait_for("started sender")
    # When its window is closed: SIGHUP, and writing to it fails from now on
    os.close(supervised.terminal)
    # Then it still stops all stages in order
    assert supervised.process.wait(20) == 0
    ended = [line.split()[1] for line in supervised.events() if line.startswith("ended")]
    assert (ended[0], ended[-1]) == ("sender", "server")
    supervised.nothing_is_left()


@pytest.mark.parametrize("when", ["started server", "started worker-child", "started sender"])
def test_sigkill_of_the_supervisor_leaves_nothing(supervise, when):
    supervised = supervise("three")
    supervised.wait_for(when)
    supervised.process.kill()
    supervised.process.wait()
    helpers = [
        p for p in psutil.process_iter(["cmdline"]) if str(supervised.folder) in " ".join(p.info["cmdline"] or [])
    ]
    supervised.nothing_is_left()
    _gone, left = psutil.wait_procs(helpers, timeout=10)
    assert not left


def test_sigkill_of_the_supervisor_leaves_nothing_even_if_its_helper_had_been_killed(supervise):
    # Given a system whose helper was killed, and a program that was started after that
    supervised = supervise("three")
    supervised.wait_for("started sender")
    [helper] = [p for p in psutil.Process(supervised.process.pid).children() if "lifeline.py" in " ".join(p.cmdline())]
    helper.kill()
    os.kill(pid_of(supervised, "web"), signal.SIGKILL)
    supervised.wait_for("started web", times=2)
    # When the supervisor is killed
    supervised.process.kill()
    # Then the new helper has everything that was started, before and after
    supervised.nothing_is_left()


def test_a_killed_program_is_started_again_without_what_it_had_left_behind(supervise):
    # Given a worker with a child
    supervised = supervise("three")
    supervised.wait_for("started sender")
    old = [pid_of(supervised, "worker"), pid_of(supervised, "worker-child")]
    # When the worker alone is killed
    os.kill(old[0], signal.SIGKILL)
    # Then its child goes too, another worker takes its place, and a line says so
    supervised.wait_for("started worker ", times=2)
    assert not psutil.pid_exists(old[1]) or psutil.Process(old[1]).status() == psutil.STATUS_ZOMBIE
    supervised.process.terminate()
    _, output = supervised.finish()
    assert "worker was killed by SIGKILL: it is started again in 1 s (1 of 2); its log is" in output
    supervised.nothing_is_left()


def test_a_program_that_must_not_end_ends_everything_and_its_log_is_named(supervise):
    supervised = supervise("three")
    supervised.wait_for("started sender")
    os.kill(pid_of(supervised, "server"), signal.SIGKILL)
    status, output = supervised.finish()
    assert status == 1
    assert f"error: server was killed by SIGKILL; its log is {supervised.folder}/server.log" in output
    supervised.nothing_is_left()


def test_a_program_that_keeps_dying_is_given_up(supervise):
    supervised = supervise("three")
    supervised.wait_for("started sender")
    for times in (1, 2, 3):
        supervised.wait_for("started web", times=times)
        os.kill(pid_of(supervised, "web"), signal.SIGKILL)
    status, output = supervised.finish()
    assert status == 1
    assert "error: web was killed by SIGKILL once more after 2 restarts; its log is" in output
    supervised.nothing_is_left()


def test_a_second_signal_hurries(supervise):
    # Given a worker that is given a minute for each signal and heeds only the second
    supervised = supervise("stubborn")
    supervised.wait_for("started worker")
    supervised.process.send_signal(signal.SIGINT)
    supervised.wait_for("SIGTERM worker")
    # When Ctrl-C is pressed again
    began = time.monotonic()
    supervised.process.send_signal(signal.SIGINT)
    status, _ = supervised.finish()
    # Then it gets its next signal at once
    assert status == 0
    assert time.monotonic() - began < 50
    assert supervised.events()[-4:] == ["SIGQUIT worker", "ended worker", "SIGTERM server", "ended server"]


def test_what_heeds_no_signal_is_killed(supervise):
    supervised = supervise("deaf")
    supervised.wait_for("started worker")
    supervised.process.terminate()
    status, output = supervised.finish()
    assert status == 0
    assert supervised.events()[-2:] == ["SIGTERM worker", "SIGQUIT worker"]
    assert "worker does not stop: it is killed\n" in output
    supervised.nothing_is_left()


def test_a_program_that_does_not_come_up_is_named_with_what_to_do(supervise):
    supervised = supervise("never-ready")
    status, output = supervised.finish()
    assert status == 1
    assert f"error: late did not come up within 1 s: give it more time ({supervised.folder}/late.log)\n" in output
    supervised.nothing_is_left()


def test_a_program_that_fails_at_its_start_is_tried_as_often_as_allowed_and_its_last_words_are_told(supervise):
    supervised = supervise("dies-at-start")
    status, output = supervised.finish()
    assert status == 1
    assert len([line for line in supervised.events() if line.startswith("started broken")]) == 2
    assert "error: broken ended with status 1 while it started: the reason is at the end of its log" in output
    assert '; its last line: "the reason why it failed"\n' in output
    supervised.nothing_is_left()


def test_a_command_that_does_not_exist_is_one_line(supervise):
    status, output = supervise("missing").finish()
    assert status == 1
    assert "error: gone could not be started: [Errno 2] No such file or directory: '/nowhere/gone'\nstopped\n" in output


def test_a_program_that_is_expected_to_end_may_end(supervise):
    supervised = supervise("job")
    supervised.wait_for("all ready")
    supervised.process.terminate()
    status, output = supervised.finish()
    assert status == 0
    assert "job ended with 0\n" in output


def test_warnings_of_a_program_reach_the_terminal_but_do_not_flood_it(supervise):
    supervised = supervise("noisy")
    supervised.wait_for("started noisy")
    supervised.until(lambda: "ready at" in (supervised.folder / "noisy.log").read_text(), "noise")
    time.sleep(1)
    supervised.process.terminate()
    _, output = supervised.finish()
    shown = [line for line in output.splitlines() if "warning " in line]
    assert shown[0] == "noisy: [2026-01-31 12:00:00,000: WARNING/MainProcess] warning 0"
    assert len(shown) == 3
    assert (supervised.folder / "noisy.log").read_text().count("warning ") == 50
