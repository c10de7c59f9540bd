# A Debian base made by mmdebstrap, for machines with no container registry at hand.
FROM scratch
ADD base.tar /
CMD ["/bin/sh"]
