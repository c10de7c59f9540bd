"""The Celery app of the conformance tests: the Python side of the wire."""
import json
import os
import time

from celery import Celery

app = Celery('proj', broker=os.environ['BROKER_URL'], backend=os.environ['BROKER_URL'])
options = {'visibility_timeout': float(os.environ.get('VISIBILITY_TIMEOUT', '3600'))}
if 'VISIBILITY_TIMEOUT' in os.environ:
    # Sweep every second instead of every hundred: a test that waits for a sweep shouldn't wait for its rarity.
    options.update(unacked_restore_interval=1, unacked_restore_throttle=1)
if os.environ.get('REMOTE_CONTROL') == 'off':
    app.conf.worker_enable_remote_control = False
if 'TIME_LIMIT' in os.environ:
    app.conf.task_time_limit = float(os.environ['TIME_LIMIT'])
prefix = os.environ.get('KEY_PREFIX')
if prefix:
    options['global_keyprefix'] = prefix
    app.conf.result_backend_transport_options = {'global_keyprefix': prefix}
app.conf.update(
    broker_transport_options=options,
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_default_queue='celery',
)


@app.task(name='py.echo')
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(name='py.add')
def add(a, b):
    return a + b


@app.task(name='py.sum')
def total(values):
    return sum(values)


@app.task(name='py.boom')
def boom(text):
    raise ValueError(text)


@app.task(name='py.again', bind=True, max_retries=2)
def again(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task(name='py.request', bind=True)
def request(self):
    r = self.request
    return {'id': r.id, 'retries': r.retries, 'priority': r.delivery_info.get('priority'),
            'redelivered': bool(r.delivery_info.get('redelivered')), 'headers': r.headers, 'root': r.root_id}


@app.task(name='py.seldom', rate_limit='1/h')
def seldom():
    return 'seldom'


@app.task(name='test.note')
def note(ledger, tag, milliseconds=0):
    """The Python twin of the fixture app's task: whoever gets the message leaves the same trace."""
    def line(what):
        with open(ledger, 'a') as file:
            file.write(json.dumps({'what': what, 'tag': tag, 'pid': os.getpid(), 'at': int(time.time() * 1000),
                                   'attempt': 1, 'redelivered': False}) + '\n')
    line('begin')
    time.sleep(milliseconds / 1000)
    line('end')
    return 'from python'


@app.task(name='py.relay')
def relay(task, args, queue):
    """Sends another task, to whoever consumes its queue."""
    return app.send_task(task, args, queue=queue).id


if 'SPANS' in os.environ:
    import traced  # noqa: F401  (OpenTelemetry, for whom it is installed)
