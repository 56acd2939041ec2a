#!/usr/bin/env bash
# Installs the build into an empty prefix, builds examples/route against it and runs it.
set -euo pipefail
source=$1 build=$2 work=$3
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"
cmake -S "$source/examples/route" -B "$work/example" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_STANDARD=20 >"$work/configure.log"
cmake --build "$work/example" >"$work/build.log"
"$work/example/route" | tee "$work/output.log"
# Eight tokens, two experts each, four experts: every expert takes four tokens.
[[ $(grep -cE '^expert [0-3]:( [0-7]){4}$' "$work/output.log") -eq 4 ]]
[[ -x $work/prefix/bin/unmask ]]
