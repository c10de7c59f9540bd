# A Debian base with Node in it, for where no registry has one. BASE is a plain Debian; the context holds `node`.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends libatomic1 libstdc++6 && rm -rf /var/lib/apt/lists/*
COPY node /usr/local/bin/node
