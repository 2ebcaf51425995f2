#!/bin/sh
# The image without a daemon: buildah in chroot isolation on a debootstrap base; then the server from
# the image, as its own user, with the demo's questions against it; then the compose file.
set -eu
base_tar=build/docker/base.tar
image=localhost/kith:test
store="--storage-driver vfs --root $PWD/build/docker/storage --runroot $PWD/build/docker/run"
port=${DOCKER_PORT:-$("${PYTHON:-/usr/bin/python3}" -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')}
mkdir -p build/docker

buildah_() { # shellcheck disable=SC2086
    buildah $store "$@"
}

if [ ! -s "$base_tar" ]; then
    echo "making a Debian base image (once)"
    rm -rf build/docker/rootfs
    mirror=$(sed -nE 's/^(deb|URIs:) *(\[[^]]*\] *)?([a-z]+:[^ ]+).*/\3/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
    debootstrap --variant=minbase bookworm build/docker/rootfs ${mirror:+"$mirror"} >build/docker/debootstrap.log 2>&1 ||
        { tail -n 20 build/docker/debootstrap.log; exit 1; }
    # The base's apt must find packages the way this machine does.
    cp -a /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d build/docker/rootfs/etc/apt/ 2>/dev/null || true
    for certificates in /etc/ssl/certs /usr/local/share/ca-certificates /usr/share/ca-certificates; do
        [ -d "$certificates" ] && mkdir -p "build/docker/rootfs$certificates" &&
            cp -aL "$certificates/." "build/docker/rootfs$certificates/" 2>/dev/null || true
    done
    tar --one-file-system --numeric-owner -C build/docker/rootfs -cf "$base_tar.part" --exclude='./proc/*' --exclude='./sys/*' .
    rm -rf build/docker/rootfs
    mv "$base_tar.part" "$base_tar"
fi
if ! buildah_ images -q localhost/debian:bookworm-slim >/dev/null 2>&1 ||
    [ -z "$(buildah_ images -q localhost/debian:bookworm-slim 2>/dev/null)" ]; then
    container=$(buildah_ from scratch)
    buildah_ add -q "$container" "$base_tar" / >/dev/null
    buildah_ config --cmd /bin/bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah_ commit -q --rm "$container" localhost/debian:bookworm-slim >/dev/null
fi

echo "building the image"
buildah_ bud -q --isolation chroot --pull-never --format docker --build-arg BASE=localhost/debian:bookworm-slim \
    -t "$image" -f docker/Dockerfile . >build/docker/build.log 2>&1 || { tail -n 40 build/docker/build.log; exit 1; }
buildah_ inspect --type image "$image" | grep -q '"Healthcheck"' || { echo "the image has no HEALTHCHECK"; exit 1; }

container=$(buildah_ from --pull-never "$image")
finish() {
    [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
    pkill -TERM -f "kith serve --data-dir /data --host 0.0.0.0 --port $port" 2>/dev/null || true
    buildah_ rm "$container" >/dev/null 2>&1 || true
    rm -rf build/docker/words.ndjson
}
trap finish EXIT
run() { # as the image's user, with its environment
    buildah_ run --isolation chroot --user 10001 "$@"
}

echo "the server from the image refuses to listen on all addresses without a key"
if run "$container" -- /usr/local/bin/kith serve --data-dir /data --host 0.0.0.0 --port "$port"; then
    echo "it did not refuse"
    exit 1
fi
key=secret-of-the-test
run --env KITH_API_KEY=$key "$container" -- /usr/local/bin/kith serve --data-dir /data --host 0.0.0.0 --port "$port" \
    >build/docker/server.log 2>&1 &
server=$!
url="http://127.0.0.1:$port"
tries=0
until curl -fsS "$url/readyz" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "the server in the image did not start"; cat build/docker/server.log; exit 1; }
    sleep 0.1
done
run "$container" -- /usr/local/bin/kith health --port "$port"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/collections")" = 401 ] || { echo "no key was not refused"; exit 1; }
"${PYTHON:-/usr/bin/python3}" tests/demo_points.py >build/docker/words.ndjson
curl -fsS -X POST -H "api-key: $key" -H 'Content-Type: application/x-ndjson' -T build/docker/words.ndjson \
    "$url/collections/words/bulk?distance=Cosine"
echo
KITH_API_KEY=$key "${PYTHON:-/usr/bin/python3}" tests/demo_ask.py "$url" music,doctor

echo "the compose file"
API_KEY=x docker-compose -f docker/docker-compose.yml config -q
for line in 'read_only: true' 'cap_drop' '127.0.0.1:6333:6333' 'kith-data:/data' 'API_KEY:?' 'no-new-privileges'; do
    grep -qF -- "$line" docker/docker-compose.yml || { echo "docker-compose.yml lacks: $line"; exit 1; }
done
echo "docker: image, server, demo and compose file are fine"
