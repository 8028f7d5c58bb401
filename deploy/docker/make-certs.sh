#!/bin/sh
# Makes an authority once, and for each node named a certificate, again when it is not valid any more:
#   make-certs.sh n1 n2 n3
# CERTS: the folder with ca/ and one folder per node. OWNER: who may read a node's key.
set -eu
umask 077
CERTS=${CERTS:-/certs}
OWNER=${OWNER:-1000:1000}

mkdir -p "$CERTS/ca"
if [ ! -e "$CERTS/ca/konsul-ca.pem" ]; then
  konsulctl tls ca create --dir "$CERTS/ca"
fi
for node in "$@"; do
  mkdir -p "$CERTS/$node"
  if konsulctl tls show "$CERTS/$node/node.pem" >/dev/null 2>&1; then
    continue
  fi
  fresh=$(mktemp -d)
  konsulctl tls cert create "$node" --dir "$fresh" \
    --ca "$CERTS/ca/konsul-ca.pem" --ca-key "$CERTS/ca/konsul-ca-key.pem"
  cp "$CERTS/ca/konsul-ca.pem" "$CERTS/$node/ca.pem"
  mv "$fresh/$node-key.pem" "$CERTS/$node/node-key.pem"
  mv "$fresh/$node.pem" "$CERTS/$node/node.pem"
  rmdir "$fresh"
  chown -R "$OWNER" "$CERTS/$node"
done
