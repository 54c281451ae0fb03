# docker build -t roost .
# docker build -t roost --build-arg FEATURES=s3,otel .
FROM rust:1.95-bookworm AS build
ARG FEATURES=""
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --bin roost --features "$FEATURES"

# The Debian of the image above: a newer C library there would be missed here.
FROM debian:bookworm-slim
# Certificates are for the feature s3. The folder must be roost's before it is a volume.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /var/lib/roost --no-create-home --shell /usr/sbin/nologin roost \
    && install --directory --owner=roost --group=roost --mode=0750 /var/lib/roost
COPY --from=build /src/target/dist/roost /usr/local/bin/roost
# By number, for those who look whether it is root's.
USER 10001
ENV ROOST_DATA_DIR=/var/lib/roost ROOST_LISTEN=0.0.0.0:8000
VOLUME /var/lib/roost
EXPOSE 8000
# Neither curl nor wget is there; bash is.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^HTTP/1.[01] 200 ' <&3"]
ENTRYPOINT ["roost"]
CMD ["serve"]
