"""Flower in a real browser, as somebody on call opens it while `up` runs."""

from __future__ import annotations

import re
import shutil
import signal
import sys

import pytest


@pytest.mark.needs("chromium")
@pytest.mark.timeout(180)
def test_after_the_login_the_page_counts_each_task_that_succeeded(start, tmp_path):
    from playwright.sync_api import Error, expect, sync_playwright

    # Given a system that has worked off 300 events
    one = start(
        sys.executable,
        "-m",
        "celery",
        "-A",
        "app",
        "up",
        "--logs",
        str(tmp_path / "run"),
        "--events",
        "300",
        "--latency",
        "5",
    )
    found = one.says(r"Open (http://\S+) \(login ([^:]+):(\S+)\)")
    one.says(r"done 300|have arrived")
    address, user, password = found[1], found[2], found[3]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        # When it is opened without the login, then there is nothing to see
        with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
            browser.new_page().goto(f"{address}/workers")
        # When it is opened with the login, then it counts one worker and 300 tasks
        page = browser.new_page(http_credentials={"username": user, "password": password})
        body = page.locator("body")
        page.goto(f"{address}/workers")
        expect(body).to_contain_text("worker@", timeout=30_000)
        expect(body).to_contain_text(re.compile(r"Succeeded\s+300\b"), timeout=30_000)
        # And it lists them by name, their arguments hidden
        page.goto(f"{address}/tasks")
        expect(body).to_contain_text("tasks.events.post", timeout=30_000)
        page.locator('a[href*="/task/"]').first.click()
        expect(body).to_contain_text("hidden", timeout=30_000)
        assert '"id"' not in page.inner_text("body")
        browser.close()
    assert one.end(signal.SIGTERM) == 0, one.output
    one.leaves_nothing()
