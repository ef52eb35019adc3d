"""A local SQS server: standard queues as AWS documents them, in memory, with delays and faults on demand.

The rules are pure (`message`, `queue`, `account`, `actions`: time is an argument, nothing waits); `server` is the
shell that listens, lets long polls wait and adds the round trip. `process` runs it as a process of its own.
"""
