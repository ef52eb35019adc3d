"""Runs several programs as one: starts them in order, restarts what may be, stops them in order, leaves nothing.

`program.py` says what a program is; `restarts.py`, `stopping.py`, `important.py` decide; `guard.py`, `child.py`,
`signals.py`, `terminal.py` and `supervisor.py` do. They know nothing of Celery: what
`celery -A app up` runs is in `app/local`.
"""
