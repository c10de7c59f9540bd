# chronyd from Debian, for the DaemonSet that corrects the nodes' clocks (policy.allowDiscipline of the chart).
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends chrony && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# A pidfile that an earlier container left names PID 1, which is chronyd itself here: it would take itself for another one.
ENTRYPOINT ["sh", "-c", "rm -f /run/chrony/chronyd.pid; exec chronyd -d -u root \"$@\"", "chronyd"]
