"""The Python half of a mixed project: scores that both APIs ask for. Broker and results come from CELERY_BROKER_URL and CELERY_RESULT_BACKEND."""

import os
from statistics import fmean

from celery import Celery

app = Celery("mixed")
app.conf.update(
    task_default_queue="mixed-python",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("TASKQUEUE_VISIBILITY_TIMEOUT", "3600")),
        "socket_timeout": 10,
        "socket_keepalive": True,
    },
)


@app.task(name="scores.rate")
def rate(values):
    return {"mean": fmean(values), "highest": max(values)}
