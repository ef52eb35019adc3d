"""Whether Celery can store results where SLUICE_RESULT_URL says: it finds the code for that, and nothing connects."""

from __future__ import annotations

import sys

_LIBRARIES = {
    "arangodb": "py_arango_connection",
    "azureblockblob": "azurestorage",
    "cassandra": "cassandra",
    "consul": "consul",
    "cosmosdbsql": "pydocumentdb",
    "couchbase": "Cluster",
    "couchdb": "pycouchdb",
    "dynamodb": "boto3",
    "elasticsearch": "elasticsearch",
    "gcs": "storage",
    "mongodb": "pymongo",
    "redis": "redis",
    "s3": "boto3",
}
"""The modules of celery.backends that can be imported without their library, and the name that is None without it."""
_EXTRAS = {"database": "sqlalchemy"}
"""Celery's extra for a module of celery.backends where it has another name."""


def check_backend(url: str) -> None:
    """Raise a ValueError, with the fix and without any part of the URL's rest, if Celery has no code for the URL.

    Args:
        url: has a scheme, which may name what is behind it: `redis://…`, `db+postgresql://…`.
    """
    # Late, since most have no results and need not wait for it.
    from celery.app.backends import BACKEND_ALIASES, by_url  # noqa: PLC0415
    from celery.exceptions import ImproperlyConfigured  # noqa: PLC0415
    from celery.loaders.default import Loader  # noqa: PLC0415
    from celery.utils.imports import load_extension_class_names  # noqa: PLC0415

    name = url.partition("://")[0].partition("+")[0]
    names = BACKEND_ALIASES.keys() | dict(load_extension_class_names("celery.result_backends")).keys()
    if name not in names and "." not in name and ":" not in name:
        known = ", ".join(sorted(names - {"rpc", "riak", "disabled"}))
        raise ValueError(f"not a store of results that Celery knows; give a URL that starts with one of: {known}")
    try:
        backend, _ = by_url(url, Loader(app=None))
    except (ImportError, ImproperlyConfigured, AttributeError, TypeError):
        backend = None
    module = BACKEND_ALIASES.get(name, "").partition(":")[0]
    kind = module.rpartition(".")[2]
    if backend is not None and getattr(sys.modules.get(module), _LIBRARIES.get(kind, ""), True) is not None:
        return
    if not kind:
        raise ValueError("the class that it names cannot be imported; correct it, or install the package that has it")
    raise ValueError(
        f"Celery's store of results for {name}:// needs a library that cannot be imported here; "
        f"install it with pip install 'celery[{_EXTRAS.get(kind, kind)}]', or give another store"
    )
