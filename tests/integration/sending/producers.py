"""Processes that send: one way each, named by the first argument. Each says as JSON what it is made of afterwards."""

from __future__ import annotations

import sys

if sys.argv[1:2] == ["greenlets"]:
    from gevent import monkey

    monkey.patch_all()

import json
import os
import threading
import time
from pathlib import Path

from probe import work

from app.transport.custody import custody


def made_of():
    """What an engine would leave behind: threads, as Python and as the system counts them, and its own table."""
    names = [thread.name for thread in threading.enumerate()]
    deadline = time.monotonic() + 5
    while (native := len(list(Path("/proc/self/task").iterdir()))) > len(names) and time.monotonic() < deadline:
        time.sleep(0.01)  # one that was joined may be there a little longer
    return {
        "threads": names,
        "native threads": native,
        "engines": len(custody._custodies),
    }


def sockets():
    """The sockets that this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # the one that lists them
            continue
    return {link for link in links if link.startswith("socket:")}


def send(name, count):
    for number in range(count):
        work.delay(f"{name} {number}")


def script():
    send("script", 1)
    return made_of()


def fork(name, count, inherited):
    """A child that sends, and says so in its exit status: 0 if it did so by a connection of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            send(name, count)
            found = made_of()
            if found["threads"] == ["MainThread"] and found["native threads"] == 1 and not found["engines"]:
                status = 0 if sockets() - inherited else 2
        finally:
            os._exit(status)
    return child


def forks(first):
    """A server that forks its workers after it has imported the tasks, and perhaps sent a message itself."""
    if first == "after-a-send":
        send("parent", 1)
    inherited = sockets()
    children = [fork(f"child {number}", 3, inherited) for number in range(4)]
    send("parent later", 3)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return {**made_of(), "statuses": statuses}


def forks_beside_threads():
    """Children forked at any moment of their parent's sending, but for the first time: kombu has locks around that."""
    send("parent", 1)
    is_over = threading.Event()

    def go_on(name):
        number = 0
        while not is_over.is_set():
            send(f"{name} {number}", 1)
            number += 1

    threads = [threading.Thread(target=go_on, args=[f"thread {number}"]) for number in range(3)]
    for thread in threads:
        thread.start()
    statuses = []
    for number in range(8):
        child = fork(f"child {number}", 1, sockets())
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    is_over.set()
    for thread in threads:
        thread.join()
    return {**made_of(), "statuses": statuses}


def threads():
    senders = [threading.Thread(target=send, args=(f"thread {number}", 5)) for number in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return made_of()


def greenlets():
    import gevent

    gevent.joinall([gevent.spawn(send, f"greenlet {number}", 2) for number in range(10)], raise_error=True)
    return made_of()


if __name__ == "__main__":
    ways = {each.__name__: each for each in (script, forks, forks_beside_threads, threads, greenlets)}
    sys.stdout.write(json.dumps(ways[sys.argv[1]](*sys.argv[2:])))
