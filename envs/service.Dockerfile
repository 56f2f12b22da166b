# The service alone: onnxruntime, no torch; not root; nothing is written.
#   docker build -f envs/service.Dockerfile -t monolayer-service .
#   docker run --read-only --tmpfs /tmp -p 8000:8000 monolayer-service       # the pretrained model; or one of yours:
#   docker run --read-only --tmpfs /tmp -p 8000:8000 -v "$PWD/results/demo:/results:ro" \
#       monolayer-service --model /results/export/unet_distance
FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
# what is installed changes less often than the code
COPY pyproject.toml uv.lock README.md LICENSE NOTICE ./
RUN uv sync --frozen --no-default-groups --group service --no-install-project
COPY workflow/monolayer workflow/monolayer
RUN uv sync --frozen --no-default-groups --group service --no-editable

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home monolayer
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
ENTRYPOINT ["monolayer", "serve", "--host", "0.0.0.0"]
