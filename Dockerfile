# One image for every process of ours: the compose file says which one a container runs.
# Nothing newer than Docker 20.10 is used.

# The third-party packages, in a layer that only a change of requirements.txt makes anew.
FROM python:3.12-slim AS packages
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv --without-pip /opt/middleman \
 && pip --python /opt/middleman/bin/python install --quiet --no-cache-dir --disable-pip-version-check \
    --root-user-action=ignore --only-binary :all: --require-hashes -r requirements.txt

# Our code, compiled here because the container's file system is read-only.
FROM python:3.12-slim AS code
WORKDIR /app
COPY migrations migrations
COPY deploy deploy
COPY services services
RUN python -m compileall -q --invalidation-mode unchecked-hash . \
 && chmod -R a+rX . && chmod 0755 deploy/image/middleman

FROM python:3.12-slim
LABEL org.opencontainers.image.title="middleman" \
      org.opencontainers.image.description="Charges every subscriber once for every billing period"
# A named volume takes its owner from the directory that it is mounted on, of every container that mounts it: so each
# mount point of ours exists and belongs to the user that we run as. /volumes is where `deploy.init` has them all.
RUN groupadd --gid 10001 middleman \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin middleman \
 && for reader in authority postgres owner api replica sandbox operator grafana etcd-1 etcd-2 etcd-3; do \
      install -d -o middleman -g middleman -m 0755 "/volumes/secrets/$reader"; done \
 && for member in etcd-1 etcd-2 etcd-3; do install -d -o middleman -g middleman -m 0755 "/volumes/etcd/$member"; done \
 && install -d -o middleman -g middleman -m 0755 /secrets \
 && install -d -o middleman -g middleman -m 0700 /var/lib/sandbox \
 && openssl version >/dev/null
COPY --from=packages /opt/middleman /opt/middleman
COPY --from=code /app /app
ENV PATH=/app/deploy/image:/opt/middleman/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app/services:/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
# Which address to ask stands in HEALTHCHECK_URL; a container without one has nothing to be asked.
HEALTHCHECK --interval=5s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-I", "-S", "/app/services/middleman/entrypoints/healthcheck.py"]
CMD ["middleman", "--help"]
