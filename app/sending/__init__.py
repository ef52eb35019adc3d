"""Sending: a file of JSON lines into a queue, ten to a call, each line under its own id, what was taken on record.

In the order a line meets them: `lines` reads it, `message` makes Celery's message of it, `batches` gathers, `sender`
calls SQS (several calls at a time; `delivery` decides what to send again, `answers` what an answer means), `record`
remembers, `progress` tells. `sample` makes events to send. All but `sender`, `record` and `message` are pure.
"""
