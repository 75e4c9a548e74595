# The image of kdns: `docker build -t kdns:0.1.0 .`, see docs/install.md. Needs the base image and the package index.
# What is in it and why: deploy/image/assemble.py. That it serves as a pod does: tests/security, which runs these steps.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kdns ./kdns
COPY deploy/image ./deploy/image
# Copies, not links: the interpreter that is given a capability is the image's own.
RUN python -m venv --copies --without-pip /opt/kdns
RUN python -m pip --python /opt/kdns/bin/python install --no-cache-dir --no-compile .[server]
RUN python deploy/image/assemble.py --venv /opt/kdns --root /image

# No shell, no package manager: what /image holds is all there is.
FROM scratch
COPY --from=build /image /
ENV PATH=/opt/kdns/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="kdns" org.opencontainers.image.licenses="Apache-2.0"
# A number, so that a kubelet can tell by itself that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 53/udp 53/tcp 8080/tcp 8181/tcp 9153/tcp
# A Deployment of CoreDNS gives `-conf /etc/coredns/Corefile` as arguments: they go on to work.
ENTRYPOINT ["/opt/kdns/bin/kdns", "serve"]
