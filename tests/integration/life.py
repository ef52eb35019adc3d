"""Workers that live through one trouble with SQS after the other, and what must be true of them all the while."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

from harness import Queues, Worker, body, elsewhere, end, profile, table_of_queues, until
from proxy import ForwardProxy

from app.testing.sqs.process import LocalSQS

POOLS = ("prefork", "gevent")
#: Seconds.
LEASE = 6
#: How workers reach SQS. AWS speaks TLS and checks signatures.
WAYS = ("plainly", "as AWS", "as AWS, through a proxy")
#: What can go wrong with a call.
FAULTS = {
    "500": "error:status=500",
    "503": "error:status=503",
    "throttled": "throttle",
    "throttling": "throttle:code=ThrottlingException",
    "dropped": "drop",
    "garbage": "garbage",
    "lost": "answer-lost",
    "truncated": "truncated",
    "slow": "slow:seconds=1.5",
    "expired": "error:status=403:code=ExpiredTokenException",
    "denied": "error:status=403:code=AccessDeniedException",
    "missing": "error:status=400:code=AWS.SimpleQueueService.NonExistentQueue",
    "black-hole": "black-hole",
    "duplicate": "duplicate",
    "to-gone": "deliver-to-gone",
}
#: Of these, such as are for receives only.
OF_RECEIVES = ("duplicate", "to-gone")


@contextlib.contextmanager
def a_life(folder, way):
    """Workers and a server of their own, until the block ends; nothing is started before it is told to."""
    (tls := folder / "tls").mkdir()
    with contextlib.ExitStack() as stack:
        if way == "plainly":
            life = Life(stack.enter_context(LocalSQS()), folder)
        else:
            server = stack.enter_context(LocalSQS(strict=True, tls=tls))
            key = server.access_key
            keys = f"aws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}"
            environment = profile(server, folder, keys)
            if way.endswith("proxy"):
                proxy = stack.enter_context(ForwardProxy())
                environment |= proxy.environment()
            life = Life(server, folder, environment=environment)
        try:
            yield life
            if way.endswith("proxy"):
                assert set(proxy.tunnels) == {life.server.endpoint_url.removeprefix("https://")}
                assert proxy.requests == []
        finally:
            life.end()


class Life:
    """A worker of each pool, each with a queue for every fault: so all faults happen at once, and none hides another.

    Args:
        server: a local SQS server of its own.
        folder: for what the workers write.
        environment: how the workers find the server; None: `elsewhere`.
        pools: the workers' pools.
    """

    def __init__(self, server, folder, *, environment=None, pools=POOLS):
        self.server, self.queues = server, Queues(server)
        self.fault_of = {f"{pool}-{fault}": fault for pool in pools for fault in FAULTS}
        for queue in self.fault_of:
            server.create_queue(queue, max_receives=1000)
        self.workers = {}
        for pool in pools:
            place = folder / pool
            place.mkdir()
            own = [queue for queue in self.fault_of if queue.startswith(pool)]
            environment = {
                **(environment or elsewhere(server)),
                **table_of_queues(place, *own),
                "AWS_REGION": server.region,
                "SLUICE_VISIBILITY_TIMEOUT": str(LEASE),
                "SLUICE_RETRY_BACKOFF": "0.5",
                "SLUICE_RETRY_BACKOFF_MAX": "3",
            }
            self.workers[pool] = Worker(place, environment, "-P", pool, "-c", "16")
        #: How often each name must begin, and be ended once; and names that a task sends, each as often as SQS took it.
        self.begins = Counter()
        self.sent_on = set()
        self._count = 0

    def start(self):
        for worker in self.workers.values():
            worker.start()
        for worker in self.workers.values():
            worker.ready()
        return self

    def end(self):
        end([worker for worker in self.workers.values() if worker.process is not None])

    # -- what is sent: without a call, so that no fault meets it ------------------------------------------------

    def work(self, queue, seconds=0.0):
        """A task that runs once, whatever SQS says of it."""
        name = self._name(queue)
        self.begins[name] = 1
        self._put(queue, body("probe.work", [name, seconds]))

    def fail(self, queue):
        """A task that fails the first time."""
        name = self._name(queue)
        self.begins[name] = 2
        self._put(queue, body("probe.end", [name, "raise"]))

    def send_on(self, queue):
        """A task that sends another, to the same queue."""
        name = self._name(queue)
        self.sent_on.add(name)
        self._put(queue, body("probe.send_to", [name, queue]))

    def poison(self, queue):
        """No task at all. Gives what will be in the dead-letter queue."""
        text = f"poison {self._name(queue)}"
        self._put(queue, text)
        return text

    def _name(self, queue):
        self._count += 1
        return f"{queue}-{self._count}"

    def _put(self, queue, text):
        self.server.fill(queue, 1, text.replace("{n}", "{ n}"))

    # -- trouble ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def trouble(self, call, *, but=(), options="", at=""):
        """Each fault (but for some) hits this call, at the queue that is named after it, until the block ends.

        Gives a function: the queues at which fewer calls were hit than so many.
        """
        left_out = but if call == "ReceiveMessage" else (*but, *OF_RECEIVES)
        numbers = {
            self.server.faults.add(f"{call}:{FAULTS[fault]}:queue={queue}{at}{options}"): queue
            for queue, fault in self.fault_of.items()
            if fault not in left_out
        }

        def spared(hits=1):
            active = {each.number: each.hits for each in self.server.faults.active()}
            return [queue for number, queue in numbers.items() if active.get(number, hits) < hits]

        yield spared
        for number in numbers:
            self.server.faults.remove(number)

    def until_hit(self, spared, hits=1, *, feed=None, except_for=(), within=60):
        """Wait until all faults (but for some) have hit so often, and feed the queues of those that have not."""
        ends = time.monotonic() + within
        while queues := [queue for queue in spared(hits) if self.fault_of[queue] not in except_for]:
            assert time.monotonic() < ends, f"no fault hit {queues}: {self._logs()}"
            for queue in queues if feed is not None else ():
                feed(queue)
            time.sleep(0.25)

    # -- what must be true --------------------------------------------------------------------------------------

    def check(self, within=45):
        """All that was sent is done, as often as it must be and no more; every worker lives and receives."""
        for queue in self.fault_of:
            self.work(queue)
        until(lambda: not self.left(), lambda: f"end of what is left: {self.left()}; {self._logs()}", within)
        names = {*self.begins, *self.sent_on}
        ended = Counter(name for worker in self.workers.values() for name in worker.notes("end"))
        begun = Counter(name for worker in self.workers.values() for name in worker.notes("start"))
        assert set(ended) == names
        assert {name: begun[name] for name in self.begins if begun[name] != self.begins[name]} == {}
        for worker in self.workers.values():
            assert worker.is_alive
            assert "after an error of its own" not in worker.log
            assert "could not be taken" not in worker.log
        return begun

    def left(self):
        """The queues that are not empty, and how many messages there are in which state."""
        rows = self.server.queues
        states = ("visible", "in_flight", "delayed")
        return {queue: rows[queue] for queue in self.fault_of if any(rows[queue][state] for state in states)}

    def _logs(self):
        return "\n".join(f"--- {pool}\n{worker.log[-4000:]}" for pool, worker in self.workers.items())
