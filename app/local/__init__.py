"""The whole system on this machine, for `celery -A app up`: which programs, in which order, and how far they are.

`programs` says what runs and `environment` what it is told; `observer` asks how far things are, `progress` and
`verdict` say what that means; `run` is the order of it all. `valkey` is the embedded Valkey server.
"""
