FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --system --home-dir /var/lib/roost --create-home roost
COPY --from=build /src/target/release/roost /usr/local/bin/roost
USER roost
ENV ROOST_DATA_DIR=/var/lib/roost ROOST_LISTEN=0.0.0.0:8000
VOLUME /var/lib/roost
EXPOSE 8000
ENTRYPOINT ["roost"]
CMD ["serve"]
