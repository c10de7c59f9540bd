# chronyd from Debian, for the DaemonSet that corrects the nodes' clocks (policy.allowDiscipline of the chart).
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends chrony && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["chronyd", "-d", "-u", "root"]
