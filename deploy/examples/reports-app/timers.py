"""An APScheduler process beside the Celery app of the same project, as it is: nothing in it knows of the operator.

Its jobs are kept on the volume that the beat Pod mounts, so they survive the Pod. What fails or is missed is one JSON line, and a
patrol prints what is scheduled. Run by `python3 -m timers` with `beat.scheduler: Command`.
"""

import json
import os
import signal
import sys
import threading
import traceback
from datetime import datetime, timezone

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from reports import app

STATE = os.environ.get("TIMERS_STATE", "/var/lib/taskqueue")


def say(level, event, **fields):
    line = {"level": level, "time": datetime.now(timezone.utc).isoformat(), "service": "reports", "component": "timers", "event": event}
    # One write: jobs run in threads, and print() writes the end of a line by itself, so that two lines could become one.
    sys.stdout.write(json.dumps({**line, **fields}) + "\n")
    sys.stdout.flush()


def refresh():
    """Light and periodic: the work itself is a task for the workers."""
    app.send_task("reports.refresh")
    say("info", "refresh-sent")


def import_prices():
    """Fails while there is nothing to import, as real imports do."""
    with open(os.path.join(STATE, "prices.csv"), encoding="utf-8") as prices:
        say("info", "prices-imported", lines=sum(1 for _ in prices))


def patrol():
    """Says what is scheduled, so that a job that is gone is seen in the logs."""
    jobs = {job.id: job.next_run_time and job.next_run_time.isoformat() for job in scheduler.get_jobs()}
    say("info", "jobs", jobs=jobs)


def tell(event):
    if event.code == EVENT_JOB_MISSED:
        say("warn", "job-missed", job=event.job_id, scheduledFor=event.scheduled_run_time.isoformat())
        return
    error = "".join(traceback.format_exception(event.exception))
    say("error", "job-error", job=event.job_id, scheduledFor=event.scheduled_run_time.isoformat(), error=error)


scheduler = BackgroundScheduler(
    jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{STATE}/timers.db")},
    # Not coalesced: of several slots that were missed each is told, and with so short a grace time none but the last can still run.
    job_defaults={"coalesce": False, "max_instances": 1, "misfire_grace_time": 2},
    timezone=timezone.utc,
)
scheduler.add_listener(tell, EVENT_JOB_ERROR | EVENT_JOB_MISSED)


def main():
    # Paused, since the store can be asked only once it runs.
    scheduler.start(paused=True)
    wanted = {"refresh": 5, "import_prices": 15, "patrol": 5}
    known = {job.id for job in scheduler.get_jobs()}
    say("info", "timers-started", restored=sorted(known))
    for name, seconds in wanted.items():
        # One that is there keeps its next run: replace_existing would start it anew, and what was missed meanwhile would go unnoticed.
        if name not in known:
            scheduler.add_job(f"timers:{name}", "interval", seconds=seconds, id=name)
    for name in known - set(wanted):
        scheduler.remove_job(name)
    scheduler.resume()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    scheduler.shutdown(wait=True)
    say("info", "timers-stopped")


if __name__ == "__main__":
    # Jobs refer to this module by its name, and must find this very scheduler.
    sys.modules["timers"] = sys.modules["__main__"]
    main()
