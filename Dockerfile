# What serves, and nothing else: no torch, no compiler, no package manager of its own, and the model is inside.
# It starts without a network, as a user without a name, on a root that cannot be written to.
#
#   docker build -t dragoman .
#   make image BASE_IMAGE=python:3.12-slim@sha256:...    to release: the base by its digest, which a tag is not
#
# No HEALTHCHECK: Kubernetes asks grpc.health.v1 itself (deploy/base), and other platforms do not agree on one.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
# For builds without a network: a folder of wheels that is mounted, as in tests/drills/test_image.py. Else PyPI.
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
WORKDIR /srv/dragoman
COPY requirements/serve.txt ./
# The dependencies first: they change seldom, so that this layer is kept. Only files of known hashes, and only wheels, so
# nothing is compiled here. pip has done its work then, and a server has no use for it.
RUN python3 -m venv /opt/dragoman \
 && /opt/dragoman/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r serve.txt \
 && /opt/dragoman/bin/pip check \
 && /opt/dragoman/bin/python -m pip uninstall --yes pip setuptools \
 && rm serve.txt
COPY LICENSE ./
COPY models/bundles/default models/bundles/default
COPY service service
# Compiled now, because later the root is read-only and every start would compile again.
RUN /opt/dragoman/bin/python -m compileall -q service

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dragoman" \
      org.opencontainers.image.description="Translation between English, Spanish and French over gRPC" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/dragoman /opt/dragoman
COPY --from=build /srv/dragoman /srv/dragoman
WORKDIR /srv/dragoman
# onnxruntime (1.29 and newer) reports to its maker unless told otherwise: no network means no network.
ENV PATH="/opt/dragoman/bin:${PATH}" \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/srv/dragoman/service \
    PYTHONUNBUFFERED=1
# A number, for Kubernetes cannot tell from a name that it is not root's.
USER 65532:65532
EXPOSE 50051 9464
ENTRYPOINT ["python", "-m", "dragoman"]
CMD ["serve"]
