"""What has been sent, read from the sender's record as it grows."""

from __future__ import annotations

import json

from app.local.environment import Addresses
from app.local.observer import Observer


def observer(events) -> Observer:
    return Observer(Addresses(), queues=["q"], dead_letter_queues=["q-dead"], events=events)


def test_only_the_events_that_sqs_has_accepted_count_as_sent_in_the_order_of_the_file(tmp_path):
    # Given a file of five events, and a record of which the last line is still being written
    events, record = tmp_path / "events.jsonl", tmp_path / "events.jsonl.sent"
    events.write_text("".join(json.dumps({"id": f"id-{number}"}) + "\n" for number in range(1, 6)))
    seen = observer(events)
    assert seen.sent_ids() == []
    record.write_text('{"sluice_sent":1,"run_id":"r","task":"t","queue":"q"}\n4-5 00ff\n1,')
    assert seen.sent_ids() == ["id-4", "id-5"]
    # When it is whole
    with record.open("a") as end:
        end.write("3 00ff\n")
    # Then its events count too
    assert seen.sent_ids() == ["id-1", "id-3", "id-4", "id-5"]
