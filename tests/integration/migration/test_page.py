"""docs/migration.md, its recipes as they are written there, and what it says that one sees without them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, Worker, body, plain_environment

PAGE = ROOT / "docs" / "migration.md"
CELERY = Path(sys.executable).parent / "celery"


def section(title):
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def write_modules(title, folder):
    """The Python files of a section of the page, each named in its first line."""
    for code in re.findall(r"```python\n(.*?)```", section(title), re.DOTALL):
        path = folder / re.match(r"# (\S+)\n", code)[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)


class Project(Worker):
    """A worker that is started in the project's folder, by the installed `celery`."""

    celery = (CELERY,)


@pytest.fixture
def start(sqs_server, queues, tmp_path):
    started = []

    def start(folder, modules, *, application="app", **environment):
        sqs_server.create_queue("sluice", max_receives=50)
        settings = {
            "AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url,
            "SLUICE_TASK_MODULES": modules,
            "PYTHONPATH": "",
            **environment,
        }
        worker = Project(tmp_path, settings, "-c", "1")
        worker.folder, worker.application = folder, application
        started.append(worker.start())
        return worker.ready()

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def run(command, folder, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**plain_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_projects_own_application_is_ours_by_one_line(start, shop, sqs_server, queues):
    write_modules("Your own Celery application", shop)
    worker = start(shop, "shop.tasks", application="shop")
    assert ". shop.tasks.ship" in worker.log
    send = "from shop.tasks import ship; ship.apply_async(['the book'], countdown=2)"
    sqs_server.clock.speed = 0
    found = run([sys.executable, "-c", send], shop, AWS_ENDPOINT_URL_SQS=sqs_server.endpoint_url)
    assert found == (0, "")
    assert sqs_server.queues["sluice"]["delayed"] == 1  # so it went by our transport
    sqs_server.clock.speed = 1
    worker.wait_for("shipped the book")
    queues.wait_until_empty()


@pytest.mark.parametrize("is_ours", [False, pytest.param(True, marks=pytest.mark.long)], ids=["in theirs", "in ours"])
def test_modules_that_were_moved_into_a_package_do_what_old_messages_ask_for(is_ours, start, shop, queues):
    write_modules("When your modules are called `app`, `tasks` or `settings`", shop)
    worker = start(ROOT if is_ours else shop, "shop.tasks", PYTHONPATH=str(shop) if is_ours else "")
    queues.send(body("tasks.send_mail", ["ada@example.com"]))
    worker.wait_for("shop@example.com writes to ada@example.com")
    queues.wait_until_empty()


@pytest.mark.long
def test_a_module_called_tasks_is_found_in_the_projects_own_folder(start, shop, queues):
    (shop / "tasks.py").write_text(
        "from celery import shared_task\n\n@shared_task\ndef send_mail(address):\n    print(f'mail to {address}')\n"
    )
    worker = start(shop, "tasks")
    queues.send(body("tasks.send_mail", ["ada@example.com"]))
    worker.wait_for("mail to ada@example.com")
    queues.wait_until_empty()


def test_what_one_sees_of_a_clash_is_what_the_page_says(shop):
    (shop / "settings.py").write_text("SENDER = 'shop@example.com'\n")
    (shop / "app.py").write_text("shop = 1\n")
    (shop / "jobs.py").write_text("import settings\n\nsettings.SENDER\n")
    (shop / "more.py").write_text("from app import shop\n")
    seen = section("When your modules are called `app`, `tasks` or `settings`")
    load = "from app.celery import app; app.loader.import_default_modules()"
    modules = {"PYTHONPATH": str(shop), "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1"}

    status, said = run([CELERY, "-A", "app", "report"], shop)
    assert status != 0
    assert "Unable to load celery application" in said
    assert "Unable to load celery application" in seen
    for module in ("jobs", "more"):
        status, said = run([sys.executable, "-c", load], ROOT, SLUICE_TASK_MODULES=module, **modules)
        assert status == 1
        assert f"{module}, named by SLUICE_TASK_MODULES, cannot be imported" in said
    assert "cannot be imported" in seen
