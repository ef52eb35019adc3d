"""A web application whose every request sends a message; the answer says what its process is made of."""

from __future__ import annotations

import json
import os

from probe import work
from producers import made_of

if os.environ.get("SENT_BEFORE_THE_FORK"):
    work.delay("before the fork")


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    work.delay(name)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(made_of()).encode()]
