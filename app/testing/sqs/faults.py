"""Faults on chosen calls: what a client must live through, made to happen on demand."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Collection

KINDS: dict[str, str] = {
    "answer-lost": "the call takes effect, then the connection is closed without an answer",
    "black-hole": "no effect and never an answer; the connection stays open",
    "deliver-to-gone": "a receive hands out its messages although its client has gone, as AWS may",
    "drop": "no effect; the connection is closed without an answer",
    "duplicate": "a receive hands out messages that stay visible, so that the next one gets them too",
    "error": "no effect; an error answer (status, code)",
    "garbage": "the call takes effect; the answer is 200 with a body that is not JSON",
    "slow": "the call takes effect; the answer comes `seconds` later",
    "throttle": "no effect; a throttling error (code: RequestThrottled or ThrottlingException)",
    "truncated": "the call takes effect; the answer breaks off in its middle",
}
_RECEIVE_ONLY = frozenset({"deliver-to-gone", "duplicate"})
_USUAL_CODES = {400: "InvalidParameterValueException", 403: "AccessDeniedException", 503: "ServiceUnavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong. `ValueError` says what is wrong with the description.

    Args:
        action: the call that it hits, as `DeleteMessageBatch`; `*` for all.
        kind: one of `KINDS`.
        probability: of each such call, above 0 and up to 1.
        count: how many calls it hits before it is over; `None` for no end.
        queue: only calls on the queue with this name.
        status: HTTP status of an `error`; by default that of its code, else 500.
        code: error code of an `error` or `throttle`.
        seconds: how late a `slow` answer is.
    """

    action: str
    kind: str
    probability: float = 1.0
    count: int | None = None
    queue: str | None = None
    status: int | None = None
    code: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault '{self.kind}': choose one of {', '.join(sorted(KINDS))}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"a fault's probability is above 0 and up to 1, not {self.probability}")
        if self.count is not None and self.count < 1:
            raise ValueError(f"a fault's count is 1 or more, not {self.count}")
        if self.status is not None and self.kind != "error":
            raise ValueError(f"a status goes with the fault 'error', not with '{self.kind}'")
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError(f"a fault's status is between 400 and 599, not {self.status}")
        if self.code is not None and self.kind not in {"error", "throttle"}:
            raise ValueError(f"a code goes with the faults 'error' and 'throttle', not with '{self.kind}'")
        if (self.seconds is not None) != (self.kind == "slow"):
            raise ValueError("the fault 'slow' needs seconds, as slow:seconds=2, and no other fault takes them")
        if self.seconds is not None and self.seconds < 0:
            raise ValueError(f"a slow answer cannot be {self.seconds} seconds late")
        if self.kind in _RECEIVE_ONLY and self.action not in {"ReceiveMessage", "*"}:
            raise ValueError(f"the fault '{self.kind}' is for ReceiveMessage, not for {self.action}")

    @property
    def error(self) -> tuple[str, int | None]:
        """The code and, if it is not the code's own, the status of an error answer."""
        if self.kind == "throttle":
            return self.code or "RequestThrottled", None
        if self.code is not None:
            return self.code, self.status
        status = self.status or 500
        return _USUAL_CODES.get(status, "InternalFailure"), status

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `ACTION:KIND[:NAME=VALUE…]`, as `ReceiveMessage:error:code=503:probability=0.05`.

        A code that is a number is a status.
        """
        action, *rest = text.split(":")
        if not rest:
            raise ValueError(f"'{text}' is not a fault: write ACTION:KIND, as ReceiveMessage:drop:probability=0.1")
        kind, *options = rest
        values: dict[str, Any] = {"action": action, "kind": kind}
        for option in options:
            name, separator, value = option.partition("=")
            if not separator:
                raise ValueError(f"'{option}' in '{text}' is not an option: write NAME=VALUE")
            values["status" if name == "code" and value.isdigit() else name] = value
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Fault:
        """Read a description from JSON or a command line; `ValueError` for an unknown name or a wrong value."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"a fault has no '{name}': it has {', '.join(known)}")
        for name in ("action", "kind"):
            if not isinstance(values.get(name), str):
                raise ValueError(f"a fault needs its {name}, as text")  # noqa: TRY004 - one error for all descriptions
        return cls(**{name: _convert(name, value) for name, value in values.items() if value is not None})

    def as_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, without what is not set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def _convert(name: str, value: Any) -> Any:
    wanted = {"probability": float, "seconds": float, "count": int, "status": int}.get(name, str)
    try:
        return wanted(value)
    except (TypeError, ValueError):
        raise ValueError(f"a fault's {name} is a number, not '{value}'") from None


@dataclass(slots=True)
class ActiveFault:
    """A fault that is on, and how often it has hit."""

    number: int
    fault: Fault
    hits: int = 0


class Faults:
    """The faults that are on. The first that applies to a call hits it.

    Args:
        actions: the names of all actions.
        random_source: decides on probabilities; a seeded one decides the same again.
    """

    def __init__(self, *, actions: Collection[str], random_source: random.Random) -> None:
        self._actions = actions
        self._random = random_source
        self._active: dict[int, ActiveFault] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._active)

    def active(self) -> list[ActiveFault]:
        """What is on, oldest first."""
        return list(self._active.values())

    def add(self, fault: Fault) -> int:
        """Turn a fault on; the number turns it off again. `ValueError` for an action that does not exist."""
        if fault.action != "*" and fault.action not in self._actions:
            raise ValueError(
                f"there is no action '{fault.action}': choose '*' or one of {', '.join(sorted(self._actions))}"
            )
        number, self._next = self._next, self._next + 1
        self._active[number] = ActiveFault(number, fault)
        return number

    def remove(self, number: int) -> None:
        """Turn a fault off; one that is over is no error."""
        self._active.pop(number, None)

    def clear(self) -> None:
        """Turn all off."""
        self._active.clear()

    def pick(self, action: str, queue: str | None) -> Fault | None:
        """The fault that hits this call, if any; counts it."""
        for active in self._active.values():
            fault = active.fault
            if fault.action not in {action, "*"} or (fault.queue is not None and fault.queue != queue):
                continue
            if fault.kind in _RECEIVE_ONLY and action != "ReceiveMessage":
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            active.hits += 1
            if fault.count is not None and active.hits >= fault.count:
                del self._active[active.number]
            return fault
        return None
