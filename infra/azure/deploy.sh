#!/usr/bin/env bash
# `make deploy CLOUD=azure STAGE=…`: Terraform, then the bundle, with the caller's own `az login`.
set -euo pipefail
stage=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
for tool in terraform az; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
ARM_SUBSCRIPTION_ID=${ARM_SUBSCRIPTION_ID:-$(az account show --query id --output tsv)}
export ARM_SUBSCRIPTION_ID
tf() { terraform -chdir="$root/infra/azure" "$@"; }
tf init -input=false
tf workspace select -or-create "$stage"
tf apply -input=false -var "stage=$stage"
# the bundle brings its libraries: nothing is built over there
az functionapp deployment source config-zip --build-remote false --output none \
    --resource-group "$(tf output -raw resource_group)" --name "$(tf output -raw function_app)" \
    --src "$root/build/stoq-azure-x86_64.zip"
