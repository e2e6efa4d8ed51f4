#!/usr/bin/env bash
# `make deploy CLOUD=gcp STAGE=…`: Terraform, with the caller's own `gcloud auth application-default login`.
set -euo pipefail
stage=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
command -v terraform >/dev/null || { echo "terraform is not installed" >&2; exit 1; }
project=${GOOGLE_CLOUD_PROJECT:-$(gcloud config get-value project 2>/dev/null || true)}
test -n "$project" || { echo "which project? set GOOGLE_CLOUD_PROJECT" >&2; exit 1; }
tf() { terraform -chdir="$root/infra/gcp" "$@"; }
tf init -input=false
tf workspace select -or-create "$stage"
tf apply -input=false -var "stage=$stage" -var "project=$project" -var "bundle=$root/build/stoq-gcp-x86_64.zip"
