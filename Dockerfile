# Sluice as an image: the worker is PID 1 and gets the signals, nobody is root, and only locked packages are in it.
# Build your own on top of it:  FROM sluice  /  COPY my_tasks my_tasks  /  ENV SLUICE_TASK_MODULES=my_tasks
FROM python:3.13-slim

# `runtime` for production; `local` adds the embedded servers (the compose file's downstream example needs them).
ARG LOCK=runtime

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /sluice
COPY locks/${LOCK}.txt locks/
RUN pip install --require-hashes -r locks/${LOCK}.txt

COPY pyproject.toml README.md LICENSE eventlet.py ./
COPY app app
COPY settings settings
COPY tasks tasks
RUN pip install --no-deps --no-build-isolation --no-index -e . \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sluice
USER 10001

# SIGTERM drains. Docker kills after 10 s unless told otherwise: give it SLUICE_DRAIN_TIMEOUT and ten seconds more.
STOPSIGNAL SIGTERM
ENTRYPOINT ["celery", "-A", "app"]
CMD ["worker", "-E", "-l", "INFO"]
