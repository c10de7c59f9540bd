"""The tasks of a campaign on a Celery worker: the twins of app.ts, and, alone, the whole of Celery's own campaign."""
import json
import os
import sys
import time

from celery import Celery, chord

LEDGER = os.environ['HISTORY_LEDGER']
FAILURES = 2
MAX_RETRIES = 2
VISIBILITY = float(os.environ.get('HISTORY_VISIBILITY_SECONDS', '20'))

app = Celery('history', broker=os.environ['BROKER_URL'], backend=os.environ['BROKER_URL'])
app.conf.update(
    broker_transport_options={
        'visibility_timeout': VISIBILITY,
        # As often as it can: a run of minutes has no time for a sweep each hundred seconds.
        'unacked_restore_interval': 1,
        'unacked_restore_throttle': 1,
        'socket_timeout': 5,
        'socket_connect_timeout': 5,
        'socket_keepalive': True,
    },
    result_backend_transport_options={'visibility_timeout': VISIBILITY, 'socket_timeout': 5},
    redis_socket_timeout=5,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    task_default_queue='history',
    enable_utc=True,
)


def note(what, run):
    line = json.dumps({'what': what, **run, 'at': time.monotonic_ns() / 1e6}) + '\n'
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def traced(task, id, millis, fails=False):
    run = {'id': id, 'attempt': task.request.retries + 1, 'pid': os.getpid()}
    note('begin', run)
    time.sleep(millis / 1000)
    note('threw' if fails else 'end', run)
    return id


@app.task(name='h.work', bind=True)
def work(self, id, millis):
    return traced(self, id, millis)


@app.task(name='h.flaky', bind=True, max_retries=FAILURES)
def flaky(self, id, millis):
    fails = self.request.retries < FAILURES
    traced(self, id, millis, fails)
    if fails:
        raise self.retry(countdown=1)
    return id


@app.task(name='h.doomed', bind=True, max_retries=MAX_RETRIES - 1)
def doomed(self, id, millis):
    traced(self, id, millis, True)
    raise self.retry(countdown=1, exc=RuntimeError(f'{id} fails, as it is to'))


@app.task(name='h.body', bind=True)
def body(self, parts, id):
    return traced(self, id, len(parts))


@app.task(name='h.slot', bind=True)
def slot(self, schedule):
    at = self.request.headers.get('taskqueue_scheduled_for') if self.request.headers else None
    return [schedule, at]


def send(job):
    """@returns nothing: what Celery's producer did not refuse is acknowledged"""
    kind, id, millis = job['kind'], job['id'], job['millis']
    if kind == 'chord':
        parts = [work.s(part, millis).set(task_id=part) for part in job['parts']]
        chord(parts)(body.s(id).set(task_id=id))
        return
    name = {'flaky': flaky, 'doomed': doomed}.get(kind, work)
    options = {'countdown': job['countdown']} if 'countdown' in job else {}
    name.apply_async((id, millis), task_id=id, retry=False, **options)


def main():
    """One job a line comes in, and goes out as `{"id", "error"}` once its fate is known."""
    for line in sys.stdin:
        job = json.loads(line)
        try:
            send(job)
            answer = {'id': job['id'], 'error': None}
        except Exception as error:  # noqa: BLE001 - whatever it is, the fate is not known
            answer = {'id': job['id'], 'error': str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
