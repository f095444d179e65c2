#!/bin/bash
# One training on a Cloud TPU slice that is queued for, prepared, used and given back.
#   PROJECT=... ZONE=us-west4-a BUCKET=gs://... bash examples/cluster/tpu_queued.sh
# Spot machines may be taken away: run it again with the same RUN, and the run continues.
set -euo pipefail
name=${NAME:-jaxseg} type=${TYPE:-v5litepod-16} run=${RUN:-deeplab}
gcloud config set project "$PROJECT"

gcloud compute tpus queued-resources create "$name" --node-id "$name" --zone "$ZONE" \
    --accelerator-type "$type" --runtime-version v2-alpha-tpuv5-lite --spot
trap 'gcloud compute tpus queued-resources delete "$name" --zone "$ZONE" --quiet --force' EXIT
until [ "$(gcloud compute tpus queued-resources describe "$name" --zone "$ZONE" \
    --format 'value(state.state)')" = ACTIVE ]; do
    sleep 30
done

# The same command on every host; the processes find each other by the slice's own metadata.
on_all() { gcloud compute tpus tpu-vm ssh "$name" --zone "$ZONE" --worker all --command "$1"; }
gcloud compute tpus tpu-vm scp dist/jaxseg-*.whl "$name": --zone "$ZONE" --worker all
on_all "python3.11 -m venv .venv && .venv/bin/pip install -q jaxseg-*.whl 'jax[tpu]'"
# Checkpoints have to lie where all hosts see them: a bucket, mounted.
on_all "mkdir -p runs && gcsfuse --implicit-dirs ${BUCKET#gs://} runs"
on_all ".venv/bin/jaxseg train --distributed --config deeplab --workdir runs/$run \
    --config.data.batch-size 128"
