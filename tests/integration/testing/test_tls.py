"""TLS on loopback: whom a client must trust, under which names, and what a restart changes."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError

from app.testing.http import HTTPServer, Request, Response
from app.testing.sqs.process import LocalSQS
from app.testing.tls import CA_FILE, server_context

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "app.cli.sqs", "--port", "0"]


def trusting(folder) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / CA_FILE)


async def greet(server: HTTPServer, context: ssl.SSLContext, name: str) -> str:
    """The status line that a client gets which expects a server of this name."""
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context, server_hostname=name)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return line.decode().strip()


def serve(test, context: ssl.SSLContext) -> None:
    def handler(_: Request) -> Response:
        return Response(200)

    async def bounded() -> None:
        async with asyncio.timeout(10):
            server = HTTPServer(handler)
            await server.start(tls=context)
            try:
                await test(server)
            finally:
                await server.close(timeout=0.2)

    asyncio.run(bounded())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "sqs.test"])
def test_a_client_that_trusts_the_authority_knows_the_server_by_each_of_its_names(tmp_path, name):
    async def test(server):
        assert await greet(server, trusting(tmp_path), name) == "HTTP/1.1 200 OK"

    serve(test, server_context(tmp_path, "sqs.test"))


def test_another_name_and_another_authority_are_not_trusted_and_the_server_goes_on(tmp_path):
    context = server_context(tmp_path / "a")
    server_context(tmp_path / "b")

    async def test(server):
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await greet(server, trusting(tmp_path / "a"), "elsewhere")
        with pytest.raises(ssl.SSLCertVerificationError):
            await greet(server, trusting(tmp_path / "b"), "localhost")
        with pytest.raises(ssl.SSLCertVerificationError):
            await greet(server, ssl.create_default_context(), "localhost")
        assert await greet(server, trusting(tmp_path / "a"), "localhost") == "HTTP/1.1 200 OK"

    serve(test, context)


def test_a_client_that_speaks_plain_http_gets_no_answer_and_the_server_goes_on(tmp_path):
    async def test(server):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200" not in await reader.read()
        writer.close()
        assert await greet(server, trusting(tmp_path), "localhost") == "HTTP/1.1 200 OK"

    serve(test, server_context(tmp_path))


def test_the_authority_is_made_once_and_its_key_is_for_our_eyes_only(tmp_path):
    server_context(tmp_path / "new")
    made = (tmp_path / "new" / CA_FILE).read_bytes()
    trust = trusting(tmp_path / "new")
    again = server_context(tmp_path / "new")
    assert (tmp_path / "new" / CA_FILE).read_bytes() == made
    assert stat.S_IMODE((tmp_path / "new" / "ca-key.pem").stat().st_mode) == 0o600

    async def test(server):
        assert await greet(server, trust, "localhost") == "HTTP/1.1 200 OK"

    serve(test, again)


# --- the local SQS server


def test_boto3_finds_and_trusts_it_by_its_environment(strict_sqs_environment, strict_sqs_server):
    assert strict_sqs_environment["AWS_ENDPOINT_URL_SQS"].startswith("https://127.0.0.1:")
    assert strict_sqs_environment["AWS_CA_BUNDLE"] == str(strict_sqs_server.ca_file)
    url = strict_sqs_server.create_queue("orders")
    assert boto3.client("sqs").list_queues()["QueueUrls"] == [url]


def test_boto3_does_not_trust_it_without(strict_sqs_environment, monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        boto3.client("sqs", config=Config(retries={"total_max_attempts": 1})).list_queues()


def test_a_client_trusts_it_still_when_it_was_started_anew(tmp_path):
    with LocalSQS(tls=tmp_path) as sqs:
        context = trusting(tmp_path)
        sqs.stop()
        sqs.start()
        with urllib.request.urlopen(f"{sqs.endpoint_url}/_sluice/health", timeout=10, context=context) as answer:
            assert answer.status == 200


def test_the_fixture_undoes_what_the_developers_environment_says(monkeypatch, request):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody's")
    request.getfixturevalue("sqs_environment")
    assert "AWS_CA_BUNDLE" not in os.environ
    assert "AWS_SESSION_TOKEN" not in os.environ


# --- when it cannot be


def refused(*options: str, **environment: str) -> str:
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **environment}
    )
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1 or "Usage:" in done.stderr
    return done.stderr


def test_without_the_library_it_says_what_to_install(tmp_path):
    (tmp_path / "trustme.py").write_text("raise ImportError")
    error = refused("--tls", str(tmp_path / "tls"), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert "TLS needs trustme" in error


@pytest.mark.parametrize("broken", ["ca.pem", "ca-key.pem"])
def test_a_folder_with_a_broken_authority_is_named(tmp_path, broken):
    server_context(tmp_path)
    (tmp_path / broken).write_text("not a certificate")
    assert f"--tls {tmp_path} cannot be used" in refused("--tls", str(tmp_path))


def test_a_folder_without_the_authoritys_key_is_named(tmp_path):
    server_context(tmp_path)
    (tmp_path / "ca-key.pem").unlink()
    assert f"--tls {tmp_path} cannot be used" in refused("--tls", str(tmp_path))


def test_a_key_goes_with_strict():
    assert "--access-key goes with --strict" in refused("--access-key", "AKIA:secret")
    assert "ID:SECRET" in refused("--strict", "--access-key", "AKIA")


def test_a_taken_port_is_one_line_over_tls_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = refused("--tls", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert "choose another --port" in error
