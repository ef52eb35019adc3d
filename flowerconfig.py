"""What Flower is told before its own command line: it reads this file from the folder it is started in.

Flower's own FLOWER_… variables and options count as ever (`--port`, `--basic_auth=user:password`, …). Here is only what
must be safe by default: it listens on this machine alone unless told otherwise, and then not without a login.
"""

import ipaddress

from tornado.options import options

from settings import load

if load().control_url is None:
    raise SystemExit(
        "Flower sees workers only over the control link: set SLUICE_CONTROL_URL, for it and for the workers."
    )

# The name is Flower's: it takes each global of this file that is one of its options.
address = options.address or "127.0.0.1"


def _is_public(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


if _is_public(address) and not (options.basic_auth or options.auth or options.unix_socket):
    raise SystemExit(
        f"Flower does not listen on {address} without a login, since it can stop your workers: "
        "set FLOWER_BASIC_AUTH=user:password, or leave the address out."
    )
