# syntax=docker/dockerfile:1
#
#   docker build --target gateway .        the gateway: no torch, not root, may run on a read-only root
#   docker build --target engine-cuda .    vLLM's own image, started with the flags that fit the cards it finds
#   docker build --target engine-cpu .     vLLM on a CPU with the tiny checkpoint
#   docker build .                         all-in-one: gateway and engine in one container; --build-arg ENGINE=cpu
#
# What is installed is in scripts/locks. deploy/README.md has the rest: digests, an index of one's own, SBOM, what of
# this file is tested and how.

ARG DEBIAN=debian:bookworm-slim
ARG VLLM=vllm/vllm-openai:v0.33.0
ARG ENGINE=cuda

# -- Debian with its Python 3.11, which the locks are made for --------------------------------------------------------
FROM ${DEBIAN} AS python
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log

# -- the gateway's packages: pip itself stays behind in this stage ----------------------------------------------------
FROM python AS gateway-packages
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY scripts/locks/gateway.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /build/pip \
    && python3 -m venv --without-pip /opt/gateway \
    && /build/pip/bin/pip --python /opt/gateway/bin/python install --no-compile --no-deps --require-hashes \
        -r /build/gateway.txt
COPY server /app/server
COPY clients/playground/built /app/clients/playground/built
COPY deploy/image/healthcheck.py /app/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/gateway/lib /app

FROM python AS gateway
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="qwenvl-gateway" \
    org.opencontainers.image.description="OpenAI-compatible gateway for Qwen2.5-VL on vLLM" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
RUN useradd --system --uid 10001 --user-group --home-dir /tmp --shell /usr/sbin/nologin gateway \
    && rm -f /var/log/lastlog /var/log/faillog \
    && install -d -o gateway -g gateway -m 0700 /data
COPY --from=gateway-packages /opt/gateway /opt/gateway
COPY --from=gateway-packages /app /app
WORKDIR /app
ENV PATH=/opt/gateway/bin:$PATH QVL_HOST=0.0.0.0 QVL_PORT=8000 QVL_BATCH_STORE=/data
VOLUME ["/data"]
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-S", "/app/healthcheck.py"]
ENTRYPOINT ["python", "-m", "server"]

# -- the engine on GPUs: vLLM's image as it is, and our table of flags ------------------------------------------------
FROM ${VLLM} AS engine-cuda
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="qwenvl-engine-cuda" \
    org.opencontainers.image.description="vLLM with the launch flags for Qwen2.5-VL" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
USER root
# The interpreter that has vLLM, wherever that image keeps it; and an account, which torch's compiler looks up.
RUN printf '#!/bin/sh\nexec "%s" "$@"\n' "$(command -v python3)" > /usr/local/bin/engine-python \
    && chmod 0755 /usr/local/bin/engine-python \
    && useradd --uid 10002 --gid 0 --home-dir /cache --no-create-home --shell /usr/sbin/nologin engine \
    && mkdir -p /models /cache && chown 10002:0 /models /cache && chmod 0775 /models /cache
COPY server /app/server
COPY deploy/image/engine.py deploy/image/heartbeat.py /app/
WORKDIR /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 HOME=/cache HF_HOME=/models/huggingface XDG_CACHE_HOME=/cache \
    VLLM_CACHE_ROOT=/cache/vllm TRITON_CACHE_DIR=/cache/triton TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    CUDA_CACHE_PATH=/cache/cuda QVL_ENGINE_PYTHON=/usr/local/bin/engine-python
VOLUME ["/models", "/cache"]
USER 10002
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=30m --retries=3 CMD ["engine-python", "-S", "/app/heartbeat.py"]
ENTRYPOINT ["engine-python", "/app/engine.py"]

# -- the engine on a CPU ----------------------------------------------------------------------------------------------
FROM python AS engine-cpu-packages
# PyTorch's own index has the CPU build; empty where pip is set up to find it elsewhere.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY scripts/locks/engine-cpu.txt scripts/repair_engine.py /build/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/engine \
    && /opt/engine/bin/pip install --no-compile --no-deps -r /build/engine-cpu.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    && /opt/engine/bin/python /build/repair_engine.py
COPY demo /app/demo
RUN ls /app/demo/checkpoint/*.safetensors > /dev/null 2>&1 \
    || /opt/engine/bin/python /app/demo/build.py --out /app/.cache/random

FROM python AS engine-cpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="qwenvl-engine-cpu" \
    org.opencontainers.image.description="vLLM on a CPU with a tiny Qwen2.5-VL" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
# vLLM's kernels for the CPU are linked to libnuma.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log
RUN printf '#!/bin/sh\nexec /opt/engine/bin/python "$@"\n' > /usr/local/bin/engine-python \
    && chmod 0755 /usr/local/bin/engine-python \
    && useradd --uid 10002 --gid 0 --home-dir /cache --no-create-home --shell /usr/sbin/nologin engine \
    && rm -f /var/log/lastlog /var/log/faillog \
    && mkdir -p /models /cache && chown 10002:0 /models /cache && chmod 0775 /models /cache
COPY --from=engine-cpu-packages /opt/engine /opt/engine
COPY --from=engine-cpu-packages /app /app
COPY server /app/server
COPY deploy/image/engine.py deploy/image/heartbeat.py /app/
WORKDIR /app
ENV PYTHONPATH=/app HOME=/cache HF_HOME=/models/huggingface XDG_CACHE_HOME=/cache VLLM_CACHE_ROOT=/cache/vllm \
    QVL_ENGINE_PYTHON=/usr/local/bin/engine-python
VOLUME ["/models", "/cache"]
USER 10002
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=10m --retries=3 CMD ["engine-python", "-S", "/app/heartbeat.py"]
ENTRYPOINT ["engine-python", "/app/engine.py"]

# -- both in one container: the gateway starts and watches the engine -------------------------------------------------
FROM engine-${ENGINE} AS all-in-one
USER root
COPY scripts/locks/gateway.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    engine-python -m venv --without-pip /opt/gateway \
    && engine-python -m pip --python /opt/gateway/bin/python install --no-compile --no-deps --require-hashes \
        -r /build/gateway.txt \
    && /opt/gateway/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/gateway/lib /app/server
COPY clients/playground/built /app/clients/playground/built
COPY deploy/image/healthcheck.py /app/
ENV QVL_HOST=0.0.0.0 QVL_PORT=8000 QVL_BATCH_STORE=/cache/batches
USER 10002
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["engine-python", "-S", "/app/healthcheck.py"]
ENTRYPOINT ["/opt/gateway/bin/python", "-m", "server"]
