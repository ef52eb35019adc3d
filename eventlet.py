"""Not eventlet: what `celery worker -P eventlet` finds where eventlet is not installed.

Celery imports eventlet for that option before any of our code runs, and would end in a traceback. With eventlet
installed this file is never found, and app/worker.py refuses the pool. Everybody else who tries `import eventlet`
is told the truth: that it is not there.
"""

import sys

if any("eventlet" in argument for argument in sys.argv):
    raise SystemExit("Sluice does not run on eventlet: use -P gevent, which is as light, or prefork, threads or solo.")
raise ModuleNotFoundError("No module named 'eventlet'", name="eventlet")
