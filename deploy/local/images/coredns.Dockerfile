# CoreDNS for the local cluster, from the binary that was built beside it.
FROM scratch
COPY coredns /coredns
USER 65532:65532
ENTRYPOINT ["/coredns"]
