"""Variables that we do not know: misspelt ones of ours, Celery's that would overrule ours, Kubernetes' own."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from settings.errors import Problem, shown, shown_of_unknown
from settings.table import FIELDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_OF_A_SERVICE = re.compile(
    r"SLUICE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))"
)
_ADDRESS_OF_A_SERVICE = re.compile(r"SLUICE_(.+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*")
"""What Kubernetes sets in every container of a namespace that has a Service named `sluice` or `sluice-…`
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)."""

_OVERRULES = {
    "CELERY_BROKER_URL": "leave it (and the option -b) out: the broker is SQS, and AWS_ENDPOINT_URL_SQS says where",
    "CELERY_BROKER_READ_URL": "leave it out: the broker is SQS, and AWS_ENDPOINT_URL_SQS says where",
    "CELERY_BROKER_WRITE_URL": "leave it out: the broker is SQS, and AWS_ENDPOINT_URL_SQS says where",
    "CELERY_RESULT_BACKEND": "leave it (and the option --result-backend) out and use SLUICE_RESULT_URL",
}
"""What Celery reads by itself, before all that it is told."""


def is_from_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes put it there for a Service."""
    return bool(_OF_A_SERVICE.fullmatch(name) or _ADDRESS_OF_A_SERVICE.fullmatch(f"{name}={value}"))


def strangers(given: Mapping[str, str], *, known: Collection[str], queues: Sequence[str]) -> Iterator[Problem]:
    """The variables that stop the start, each with what was probably meant."""
    for name, value in sorted(given.items()):
        if name in _OVERRULES:
            yield Problem(name, shown(value, secret=True), f"would overrule Sluice's settings; {_OVERRULES[name]}")
        elif name.upper().startswith("SLUICE_") and name not in known and not is_from_kubernetes(name, value):
            yield Problem(name, shown_of_unknown(value), f"no such setting; {_fix(name, known, queues)}")


def _fix(name: str, known: Collection[str], queues: Sequence[str]) -> str:
    if name.upper() in known:
        return f"names are upper case: write {name.upper()}"
    bare = {_bare(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_bare(name.upper()), sorted(bare), n=1, cutoff=0.7)
    if close:
        return f"did you mean {bare[close[0]]}?"
    if name.startswith("SLUICE_QUEUE_") and name.endswith(tuple(f"_{field.upper()}" for field in FIELDS)):
        return f"it would override a queue, and the queues are {', '.join(queues)}; correct the name or remove it"
    return "remove it; docs/settings.md lists the settings"


def _bare(name: str) -> str:
    return re.sub(r"^(SLUICE|AWS)_", "", name)
