"""The control link: remote control and events, beside SQS, on Valkey or Redis.

SQS has no broadcast, and an event a message would be a bill. So what Celery sends to its control exchanges
(`*.pidbox`, `celeryev`) and what reads from them (the worker's mailbox, Flower, `celery inspect`) goes over
publish/subscribe instead: `link` is the connection, `transport` routes kombu's verbs to it. When the link is down,
tasks run on.
"""
