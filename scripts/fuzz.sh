#!/usr/bin/env bash
# Builds the fuzz targets with coverage feedback and runs each for a while.
#
#     scripts/fuzz.sh SECONDS [TARGET...]
#
# Stable Rust is enough: the compiler's own pass counts edges, and libFuzzer, which is
# linked in, reads the counters. What is found new goes into fuzz/corpus/TARGET, which is
# not committed; words that a target would hardly come upon are in fuzz/dictionaries/TARGET.
# What breaks something goes into fuzz/found/TARGET, which should be committed, with its
# repair: the tests of the crate that it broke run it from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
readonly target host

flags=(
    -C passes=sancov-module
    -C llvm-args=-sanitizer-coverage-level=4
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters
    -C llvm-args=-sanitizer-coverage-pc-table
    -C llvm-args=-sanitizer-coverage-trace-compares
    --cfg fuzzing
)
export RUSTFLAGS="${flags[*]}"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd fuzz/src/bin && basename -s .rs -a -- *.rs)
# Each is a feature, too, which brings what it needs.
wanted=("${targets[@]/#/--bin=}" --no-default-features "${targets[@]/#/--features=}")
cargo build --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$target" "${wanted[@]}"

# No input may speak to anybody: the server is in a network namespace without interfaces.
alone=()
[ "$(id -u)" -ne 0 ] || alone=(unshare --net)

failed=()
for name in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$name" "fuzz/found/$name"
    words=()
    [ ! -e "fuzz/dictionaries/$name" ] || words=("-dict=fuzz/dictionaries/$name")
    echo "fuzz: $name for $seconds seconds"
    "${alone[@]}" "$target/$host/release/$name" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
        -print_final_stats=1 -artifact_prefix="fuzz/found/$name/" "${words[@]}" \
        "fuzz/corpus/$name" "fuzz/seeds/$name" "fuzz/found/$name" 2>&1 |
        { grep -E '^(#[0-9]+[[:space:]]+(INITED|DONE)|INFO: (Loaded|seed)|stat::number|stat::new|==|thread|SUMMARY|artifact)|panicked|ERROR' ||
            true; } ||
        failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: broken: ${failed[*]}; inputs are in fuzz/found" >&2; exit 1; }
