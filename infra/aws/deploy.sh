#!/usr/bin/env bash
# `make deploy CLOUD=aws STAGE=…`: serverless.yml by osls, with the caller's own credentials.
set -euo pipefail
exec osls deploy --stage "$1"
