#!/usr/bin/env bash
# From a fresh clone to a mixture-of-experts language model that has learned to write from the World
# English Bible, in about ten minutes of building and six of training on two cores.
#
#   scripts/quickstart.sh [--minutes M] [--ranks N]
#
#   --minutes M   about so many minutes of training instead of 6: a shorter schedule, planned ahead
#   --ranks N     MPI ranks: 1, 2, 4, 8 or 16 (default 2, or 1 on a single core)
#
# Started again it takes up what is there: a stopped training goes on, a finished one is evaluated.
# To train from the beginning: rm -r runs/quickstart
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# About 6 minutes on 2 cores. --minutes scales both in proportion.
minutes=6
steps=1600
warmup_samples=960

usage() { sed -n '5,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
heading() { printf '\n== %s\n' "$*"; }

wanted=$minutes
cores=$(nproc)
ranks=$((cores < 2 ? 1 : 2))
while (($# > 0)); do
  case $1 in
    --minutes) wanted=${2:-} ;;
    --ranks) ranks=${2:-} ;;
    *) usage ;;
  esac
  [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage
  shift 2
done
[[ $ranks =~ ^(1|2|4|8|16)$ ]] || usage
steps=$((steps * wanted / minutes))
warmup_samples=$((warmup_samples * wanted / minutes))
# A step takes 16 sequences, which the ranks share.
micro_batch_size=$((ranks > 2 ? 16 / ranks : 8))

heading "1/6 Set-up"
scripts/setup.sh libsword-utils sword-text-web

heading "2/6 Build"
scripts/build.sh enodia

heading "3/6 Corpus: the World English Bible, public domain"
if [[ ! -e data/web/train.jsonl ]]; then
  mod2imp engWEB2015eb | scripts/corpus_web.py data/web
fi
if [[ ! -e data/web/train.json ]]; then
  build/enodia prepare --input data/web/train.jsonl --output data/web/train --vocab-size 4096
fi
if [[ ! -e data/web/valid.json ]]; then
  build/enodia prepare --input data/web/valid.jsonl --output data/web/valid --tokenizer data/web/train.model
fi
wc -c data/web/{train,valid}.{jsonl,bin}

heading "4/6 Training: $steps steps on $ranks ranks"
scripts/enodia-run -n "$ranks" train configs/quickstart.yaml \
  --set train.steps="$steps" --set optim.warmup_samples="$warmup_samples" \
  --set train.micro_batch_size="$micro_batch_size"

heading "5/6 Held-out chapters: the model beside a unigram and a bigram model of the same tokens"
scripts/enodia-run -n "$ranks" eval runs/quickstart --data data/web/valid --ngrams data/web/train

heading "6/6 A sample"
scripts/enodia-run -n "$ranks" generate runs/quickstart --prompt "In the beginning"

cat << EOF_NEXT

== What to look at next
  runs/quickstart/metrics.jsonl   one line a step: loss, gradient norm, learning rate, tokens a second
  runs/quickstart/config.yaml     every setting of this run
  configs/quickstart.yaml         change it, or one value:  scripts/enodia-run -n $ranks train \\
                                    configs/quickstart.yaml --set run.dir=runs/mine --set train.steps=200
  build/enodia inspect runs/quickstart         what a checkpoint holds
  scripts/enodia-run -n $ranks generate runs/quickstart --prompt "The king said"
  scripts/test.sh                 the proof that its gradients are right
  docs/numerics.md                what exactly is computed
EOF_NEXT
