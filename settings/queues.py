"""The queues that this worker drains: a table for you to edit.

Leave it empty for a single queue, which `SLUICE_QUEUE` names. With several, tasks go to the first one unless they say
otherwise (or to the one that `SLUICE_QUEUE` names). What a row leaves out is the environment's default
(`SLUICE_VISIBILITY_TIMEOUT`, `SLUICE_PREFETCH`, …), and `SLUICE_QUEUE_<NAME>_<FIELD>` overrides a row; docs/settings.md
has both. For example:

    QUEUES: tuple[Queue, ...] = (
        Queue(name="orders", visibility=120),
        Queue(name="mails", url="arn:aws:sqs:eu-west-1:123456789012:prod-mails", prefetch=50, max_age=3600),
    )
"""

from __future__ import annotations

from settings.queue import Queue  # noqa: TC001 - needed at run time as soon as there is a row

QUEUES: tuple[Queue, ...] = ()
