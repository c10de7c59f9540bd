"""Celery's logging as one JSON object a line, with the field names of docs/logging.md. Python's standard library and Celery only.

Import it beside the app: Celery then sets up no logging of its own. Arguments and return values are not logged.
"""

import json
import logging
import os
import re
import socket
import sys
import traceback
from datetime import datetime, timezone

from celery import current_task
from celery.signals import setup_logging

LEVELS = {"WARNING": "warn", "CRITICAL": "fatal"}
PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@\"'\\]*):[^\s\"']*@", re.IGNORECASE)
# What Celery says of the end of a task holds its arguments and what it returned: the fields tell what may be told.
TRACES = {"INFO": ("task-succeeded", "the task succeeded"), "ERROR": ("task-failed", "the task failed")}


def place():
    found = {"taskqueue": os.environ.get("TASKQUEUE_NAME"), "namespace": os.environ.get("TASKQUEUE_NAMESPACE")}
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        found["pod"] = socket.gethostname()
    return {name: value for name, value in found.items() if value}


class JsonLines(logging.Formatter):
    def __init__(self, service):
        super().__init__()
        component = "beat" if "beat" in sys.argv else "worker"
        self.base = {"service": service, "component": component, **place()}

    def format(self, record):
        at = datetime.fromtimestamp(record.created, timezone.utc)
        line = {
            "level": LEVELS.get(record.levelname, record.levelname.lower()),
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **self.base,
            **task_fields(record),
            "msg": record.getMessage(),
        }
        if record.name == "celery.app.trace" and record.levelname in TRACES:
            line["event"], line["msg"] = TRACES[record.levelname]
        if record.exc_info and record.exc_info[1]:
            line["error"] = error_fields(record.exc_info[1])
        return PASSWORD.sub(r"\1:***@", json.dumps(line))


def task_fields(record):
    """Of the task that runs, and of the one that Celery tells of."""
    fields = {}
    request = current_task.request if current_task else None
    if request and request.id:
        routing = request.delivery_info or {}
        fields = {"task": current_task.name, "taskId": request.id, "rootId": request.root_id or request.id}
        fields.update(queue=routing.get("routing_key") or "", attempt=(request.retries or 0) + 1)
    data = getattr(record, "data", None)
    if isinstance(data, dict) and "id" in data:
        fields.update(taskId=data["id"], task=data.get("name") or "")
        if isinstance(data.get("runtime"), float):
            fields["durationMs"] = round(data["runtime"] * 1000)
    return fields


def error_fields(error):
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": type(error).__name__, "message": str(error), "stack": stack}


@setup_logging.connect
def configure(loglevel=None, **_):
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(os.environ.get("LOG_SERVICE", "reports")))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(loglevel or logging.INFO)


# Warnings of Python too, and what is said before Celery sets up its logging.
logging.captureWarnings(True)
configure()
