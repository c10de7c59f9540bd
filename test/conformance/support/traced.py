"""OpenTelemetry as Python applications have it: Celery's instrumentation, and every span that ends a JSON line in a file (SPANS)."""
import json
import os

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def line(span):
    return json.dumps({
        'name': span.name,
        'kind': span.kind.name,
        'traceId': format(span.context.trace_id, '032x'),
        'spanId': format(span.context.span_id, '016x'),
        'parentId': format(span.parent.span_id, '016x') if span.parent else None,
        'status': span.status.status_code.name,
        'attributes': {name: str(value) for name, value in (span.attributes or {}).items()},
        'events': [{'name': event.name} for event in span.events],
        'pid': os.getpid(),
    }) + '\n'


provider = TracerProvider()
out = open(os.environ['SPANS'], 'a', buffering=1)
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()
