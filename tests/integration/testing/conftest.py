"""TLS as the servers for tests speak it."""

from __future__ import annotations

import ssl

import pytest

from app.testing.tls import CA_FILE, server_context


@pytest.fixture(scope="session")
def tls_contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server needs, and a client that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    return server_context(folder), ssl.create_default_context(cafile=folder / CA_FILE)
