# pglessor in a container: no root, no shell in use, nothing written. For its flags: docker run IMAGE --help.
#
# docker-compose.yml beside this file runs it with a PostgreSQL.

FROM debian:trixie-slim AS build
WORKDIR /src
# By themselves, so that a change of the source does not install them again.
COPY script/bootstrap script/common.sh script/
RUN script/bootstrap --build && rm -rf /var/lib/apt/lists/*
COPY . .
# A compiler needs up to 2 GB.
ARG JOBS=2
RUN cmake --preset release && cmake --build --preset release --target pglessor -j "$JOBS" \
  && strip build/release/server/pglessor

FROM debian:trixie-slim
# What `ldd pglessor` asks for; the names are Debian 13's.
RUN apt-get update \
  && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    libgrpc++1.51t64 libmicrohttpd12t64 libpq5 libpqxx-7.10 libprometheus-cpp-core1.0 \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --system --gid 7432 pglessor \
  && useradd --system --uid 7432 --gid 7432 --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin pglessor
COPY --from=build /src/build/release/server/pglessor /usr/local/bin/pglessor
COPY LICENSE /usr/share/doc/pglessor/copyright
# By number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 7432:7432
# A library that is missing is found here, not where it is run.
RUN ["pglessor", "--version"]
EXPOSE 7432 7434
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["pglessor", "probe", "127.0.0.1:7432"]
ENTRYPOINT ["pglessor"]
