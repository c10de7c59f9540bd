# Node and what it is linked with, and nothing else: no shell, no npm, no package database. BASE is a Debian with Node in it; its own
# files stay behind. An image with a shell, or a distroless one with Node, can be given to deploy/Dockerfile in the place of this one.
ARG BASE=node:24-bookworm-slim
FROM ${BASE} AS full
USER root
RUN apt-get update && apt-get install -y --no-install-recommends binutils ca-certificates && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# `env` is what the first line of a command of npm names. The names of Node's symbols are for debuggers, and weigh twenty megabytes.
# Authorities are Debian's own: those of the machine that builds may be mounted over the usual file.
RUN set -eu; \
    mkdir -p /bare/usr/local/bin /bare/usr/bin /bare/etc /bare/tmp; \
    cp -L "$(command -v node)" /bare/usr/local/bin/node; \
    strip /bare/usr/local/bin/node; \
    cp -L /usr/bin/env /bare/usr/bin/env; \
    for library in $(ldd /bare/usr/local/bin/node /bare/usr/bin/env | grep -o '/lib[^ ]*\.so[^ ]*' | sort -u); do \
      cp -L --parents "$library" /bare; \
    done; \
    mkdir -p /bare/etc/ssl/certs; \
    cat /usr/share/ca-certificates/mozilla/*.crt > /bare/etc/ssl/certs/ca-certificates.crt; \
    printf 'root:x:0:0:root:/:/nonexistent\ntaskqueue:x:10001:10001:taskqueue:/tmp:/nonexistent\n' > /bare/etc/passwd; \
    printf 'root:x:0:\ntaskqueue:x:10001:\n' > /bare/etc/group; \
    printf 'hosts: files dns\n' > /bare/etc/nsswitch.conf; \
    chmod 1777 /bare/tmp

FROM scratch
COPY --from=full /bare/ /
ENV PATH=/usr/local/bin:/usr/bin
USER 10001:10001
CMD ["node"]
