"""How much CPU the local SQS server takes for a message: sent, received and deleted by ten.

    python benchmarks/local_sqs.py [--messages 20000] [--backlog 0 --backlog 1000000] [--size 1200]

Prints, for each backlog, the server's CPU in microseconds a message (the client's is not in it), the rate that this
allows on one core, and the rate seen. The client is one raw socket, so the rate seen has both sides' time in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import psutil


class Client:
    """One keep-alive connection that speaks just enough HTTP."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def post(self, path: str, body: bytes, target: str = "") -> dict:
        """One call; the decoded answer."""
        self.socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"X-Amz-Target: AmazonSQS.{target}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.buffer += self._more()
        head = self.buffer[:end].lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        self.buffer = self.buffer[end + 4 :]
        while len(self.buffer) < length:
            self.buffer += self._more()
        answer, self.buffer = self.buffer[:length], self.buffer[length:]
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(f"{target or path}: {answer.decode()}")
        return json.loads(answer)

    def call(self, action: str, **parameters: object) -> dict:
        """One SQS action."""
        return self.post("/", json.dumps(parameters).encode(), action)

    def _more(self) -> bytes:
        data = self.socket.recv(262_144)
        if not data:
            raise SystemExit("the server closed the connection")
        return data


def cpu(process: psutil.Process) -> float:
    """CPU seconds, user and system."""
    times = process.cpu_times()
    return times.user + times.system


def cycle(client: Client, queue: str, messages: int, body: str) -> None:
    """Send, receive and delete by ten."""
    entries = [{"Id": str(n), "MessageBody": body} for n in range(10)]
    for _ in range(messages // 10):
        client.call("SendMessageBatch", QueueUrl=queue, Entries=entries)
        received = client.call(
            "ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"]
        )["Messages"]
        client.call(
            "DeleteMessageBatch",
            QueueUrl=queue,
            Entries=[{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(received)],
        )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--backlog", type=int, action="append")
    parser.add_argument("--size", type=int, default=1_200, help="bytes of a body")
    options = parser.parse_args()
    body = json.dumps({"text": "x" * (options.size - 12)})
    print(f"Python {platform.python_version()}, {platform.machine()}, {psutil.cpu_count()} cores")
    for backlog in options.backlog or [0, 1_000_000]:
        command = [sys.executable, "-m", "app.cli.sqs", "--port", "0", "--exit-with-parent"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                client = Client(server.stdout.readline().strip())
                process = psutil.Process(server.pid)
                queue = client.call("CreateQueue", QueueName="bench")["QueueUrl"]
                started = time.perf_counter()
                if backlog:
                    fill = {"queue": "bench", "count": backlog, "body": body}
                    client.post("/_sluice/fill", json.dumps(fill).encode())
                filled = time.perf_counter() - started
                cycle(client, queue, 1_000, body)
                before, started = cpu(process), time.perf_counter()
                cycle(client, queue, options.messages, body)
                used, passed = cpu(process) - before, time.perf_counter() - started
                each = used / options.messages
                print(
                    f"backlog {backlog:>9,}: {each * 1e6:5.1f} us of server CPU a message, "
                    f"{1 / each:8,.0f} messages/s on one core, {options.messages / passed:8,.0f} seen; "
                    f"filled in {filled:.1f} s, {process.memory_info().rss / 1e6:,.0f} MB"
                )
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
