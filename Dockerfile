# The server in a container: runs as a non-root user, from locked wheels, and writes only to /tmp, where it keeps rewritten graphs and exports; mount a
# volume and set ONWARD_CACHE_DIR to keep them for the next container. Exports are as large as their weights, and /tmp may be in memory.
# The base image is named by tag. To pin it, append the digest that this prints:
#   docker buildx imagetools inspect python:3.12-slim
FROM python:3.12-slim AS build
# server: runs on the CPU. cuda: adds NVIDIA's CUDA and cuDNN wheels and runs on a GPU.
ARG REQUIREMENTS=server
WORKDIR /build
COPY requirements/ requirements/
RUN python -m venv /opt/onward \
    && /opt/onward/bin/pip install --no-cache-dir --require-hashes -r requirements/${REQUIREMENTS}.lock
RUN pip install --no-cache-dir --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY proto/ proto/
COPY clients/python/ clients/python/
COPY models/pocket/served/ models/pocket/served/
COPY service/ service/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . clients/python \
    && /opt/onward/bin/pip install --no-deps --no-index wheels/*.whl

FROM python:3.12-slim
COPY --from=build /opt/onward /opt/onward
ENV PATH=/opt/onward/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 ONWARD_CACHE_DIR=/tmp/onward
USER 10001:10001
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["onward", "health"]
ENTRYPOINT ["onward"]
# This address is not loopback, so the server refuses to start without further flags: --insecure, or TLS with API keys or
# client certificates.
CMD ["serve", "--listen", "0.0.0.0:50051"]
