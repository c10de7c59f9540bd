"""An existing Celery project, as it is: nothing in it knows of the operator.

Broker and result backend come from CELERY_BROKER_URL and CELERY_RESULT_BACKEND, which Celery reads by itself.
"""

import os
import time

from celery import Celery

import jsonlog  # noqa: F401  One JSON object a line; leave it out for logs as Celery has them.

app = Celery("reports")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("TASKQUEUE_VISIBILITY_TIMEOUT", "3600")),
        # Without a limit kombu can wait for ever for an answer of a broker that went away, and the worker never comes back.
        "socket_timeout": 10,
        "socket_keepalive": True,
    },
    beat_schedule={
        "refresh": {"task": "reports.refresh", "schedule": 10.0},
    },
)


@app.task(name="reports.build")
def build(name, seconds=0.05):
    time.sleep(seconds)
    return {"report": name, "pages": 3}


@app.task(name="reports.refresh")
def refresh():
    return "refreshed"
