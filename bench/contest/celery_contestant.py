"""Celery in the benchmark: the app that `celery worker` loads, and, run as a program, the sender with the same roles as process.ts."""
import hashlib
import json
import os
import sys
import time
from datetime import datetime, timezone

from celery import Celery

load = json.loads(os.environ['BENCH_LOAD'])
app = Celery('bench', broker=load['url'], backend=load['url'] if load['results'] else None)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=not load['results'],
    task_default_queue=load['queue'],
    worker_prefetch_multiplier=int(os.environ.get('BENCH_PREFETCH', '64')),
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    result_expires=86400,
)
# Children append to it; one write a job is whole.
late_file = os.environ.get('BENCH_LATE_FILE')
late = os.open(late_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if late_file else None


@app.task(name='bench.job')
def job(number, sent_micros, filling):
    if sent_micros > 0 and late is not None:
        os.write(late, b'%d\n' % (time.monotonic_ns() // 1000 - sent_micros))
    if load['work'] == 'io':
        time.sleep(0.001)
    elif load['work'] == 'cpu':
        hashlib.pbkdf2_hmac('sha256', b'a', b'b', load['hashRounds'])
    return number


def main():
    asked = json.loads(sys.argv[1])
    filling = 'x' * load['bytes']
    with app.producer_or_acquire() as producer:
        def send(number, sent_micros, **options):
            job.apply_async((number, sent_micros, filling), producer=producer, **options)

        send(0, 0)
        began = time.monotonic()
        if asked['role'] == 'send':
            for i in range(asked['count']):
                send(i, 0)
        elif asked['role'] == 'later':
            eta = datetime.fromtimestamp(asked['startAt'] / 1000, timezone.utc)
            for i in range(asked['count']):
                send(i, 0, eta=eta)
        else:
            for i in range(asked['count']):
                wait = began + i / asked['perSecond'] - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                send(i, time.monotonic_ns() // 1000)
        print(json.dumps({'seconds': time.monotonic() - began}))


if __name__ == '__main__':
    main()
