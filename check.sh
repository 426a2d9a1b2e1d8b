#!/usr/bin/env bash
# The one test command. See `./check.sh --help` and CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'EOF'
Usage: ./check.sh [--long] [--help]

Checks everything: formatting, lints, documentation, dependencies, and all tests (unit, property,
integration, simulation, end-to-end). On a machine with only Rust and git it first installs what
is missing, where it may: a C compiler (for the bundled SQLite), cargo-nextest, cargo-deny.
What it could not install or run is told as SKIPPED with the reason; a skip is no failure.

  --long   also the heavy searches: more cases a property (PROPTEST_CASES, default 4096 here),
           the tests marked #[ignore], each fuzz target for a while (with cargo-fuzz and a C++
           compiler), and each bench once without measuring
  --help   this text

Environment:
  TWINWAY_TEST_DATA     folder with `td/`, `tm/` and `schema/` (Thing Descriptions, W3C schemas);
                        unset: the tests that need it are skipped and say so
  TWINWAY_NO_INSTALL=1  install nothing
  PROPTEST_CASES        cases a property
  TWINWAY_HISTORIES     histories of sync leases tried against their invariants (default: as the
                        other properties; 100000 with --long)
  TWINWAY_MODEL_LONG=1  larger worlds for the searched model of sync leases (--long searches them, optimized)

The exit code is that of the test runner; if the tests pass but an earlier step failed, 1.
EOF
}

long=false
for argument in "$@"; do
    case "$argument" in
        --long) long=true ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

# What the tools may take to install, s: the whole run has half an hour on two cores.
nextest_install_s_max=900
deny_install_s_max=300
if $long; then deny_install_s_max=1800; fi
readonly nextest_install_s_max deny_install_s_max
readonly fuzz_install_s_max=900
# How long each fuzz target runs, s, and what one input may cost.
readonly fuzz_s=60 fuzz_input_bytes_max=65536 fuzz_memory_mb_max=1024
# What fetching the advisories may take, s.
readonly advisories_fetch_s_max=60

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
# Tests add a line for what they skip: the runner hides the output of tests that pass.
export TWINWAY_SKIPS="$scratch/skips"
: >"$TWINWAY_SKIPS"
skips=()
failures=()

heading() { printf '\n==> %s\n' "$1"; }
skip() { skips+=("$1"); printf 'SKIPPED: %s\n' "$1"; }
have() { command -v "$1" >/dev/null 2>&1; }

# step NAME COMMAND…: runs a step and says how long it took. A failing step does not hide the later ones.
step() {
    local name="$1" start=$SECONDS
    shift
    heading "$name"
    if "$@"; then
        printf '    ok, %s s\n' "$((SECONDS - start))"
    else
        printf '    FAILED, %s s: %s\n' "$((SECONDS - start))" "$*"
        failures+=("$name")
    fi
}

# within SECONDS COMMAND…: ends it after so long, where the machine has `timeout`.
within() {
    local limit_s="$1"
    shift
    if have timeout; then timeout "$limit_s" "$@"; else "$@"; fi
}

# as_root COMMAND…: runs it as root if that needs no password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        echo "    not root, and no sudo without a password" >&2
        return 1
    fi
}

may_install() {
    [ "${TWINWAY_NO_INSTALL:-0}" != 1 ] || { echo "    TWINWAY_NO_INSTALL=1: not installing $1" >&2; return 1; }
}

# need_system COMMAND PACKAGE…: installs Debian packages if the command is missing.
need_system() {
    local command="$1"
    shift
    if have "$command"; then return 0; fi
    may_install "$*" && have apt-get || return 1
    echo "    installing $*"
    as_root apt-get -qq update || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null || return 1
    have "$command"
}

# need_cargo NAME SECONDS: installs a cargo subcommand if it is missing.
need_cargo() {
    local name="$1" limit_s="$2"
    if have "$name"; then return 0; fi
    may_install "$name" || return 1
    echo "    installing $name"
    within "$limit_s" cargo install --locked --quiet "$name" && have "$name"
}

# need_component COMMAND COMPONENT: a part of the Rust toolchain that a minimal install leaves out.
need_component() {
    if cargo "$1" --version >/dev/null 2>&1; then return 0; fi
    may_install "$2" && have rustup && rustup component add "$2" && cargo "$1" --version >/dev/null 2>&1
}

runner=nextest
has_fmt=true
has_clippy=true
has_deny=true

tools() {
    # `cargo install` may put its programs where PATH does not look.
    export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if ! have cargo; then
        echo "check.sh: cargo is missing; install Rust from https://rustup.rs" >&2
        exit 1
    fi
    need_system cc gcc libc6-dev || {
        echo "check.sh: a C compiler is missing and could not be installed; the bundled SQLite and the linker need one" >&2
        exit 1
    }
    need_component fmt rustfmt || { has_fmt=false; skip "formatting: rustfmt is missing and could not be installed"; }
    need_component clippy clippy || { has_clippy=false; skip "lints: clippy is missing and could not be installed"; }
    need_cargo cargo-nextest "$nextest_install_s_max" || {
        runner=cargo-test
        skip "cargo-nextest could not be installed: the tests run under 'cargo test', without time limits a test"
    }
    need_cargo cargo-deny "$deny_install_s_max" || {
        has_deny=false
        skip "cargo deny: missing and could not be installed (limit $deny_install_s_max s); tests/architecture.rs still holds the import rules"
    }
}

versions() {
    rustc --version
    cargo --version
    cc --version | head -n 1
    git --version 2>/dev/null || true
    if [ "$runner" = nextest ]; then cargo nextest --version | head -n 1; fi
    if $has_deny; then cargo deny --version; fi
}

dependencies() {
    # The advisories need their database, which a machine without the open internet cannot fetch.
    local checks=(bans licenses sources) fetched
    fetched="$scratch/advisories"
    if within "$advisories_fetch_s_max" cargo deny fetch db >"$fetched" 2>&1; then
        checks+=(advisories)
    else
        skip "cargo deny check advisories: the advisory database could not be fetched ($(grep . "$fetched" | tail -n 1))"
    fi
    cargo deny --workspace check --hide-inclusion-graph "${checks[@]}"
}

# The committed Cargo.lock must be that of the committed manifests.
lock_file() { cargo metadata --locked --format-version 1 >/dev/null; }

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }

benches() {
    # A bench with `--test` runs what it measures once. Only that it runs is asked here, so the tests' build will do.
    local bench name
    for bench in benches/*.rs; do
        name="$(basename "$bench" .rs)"
        cargo test --quiet --bench "$name" -- --test || return 1
    done
}

# cargo-fuzz asks the compiler for what only nightly ones give unasked; another one is told to give it.
fuzz() {
    # SQLite has tables of one name in several functions, which AddressSanitizer takes for one that is defined twice.
    local -x ASAN_OPTIONS="detect_odr_violation=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
    if cargo +nightly --version >/dev/null 2>&1; then
        cargo +nightly fuzz "$@"
    else
        RUSTC_BOOTSTRAP=1 cargo fuzz "$@"
    fi
}

# Why the fuzz targets cannot run; nothing: they can.
unfuzzed() {
    if ! need_cargo cargo-fuzz "$fuzz_install_s_max" >&2; then
        echo "cargo-fuzz is missing and could not be installed"
    elif ! have c++; then
        echo "no C++ compiler, which libFuzzer is built with"
    fi
}

fuzz_targets() {
    local target name seeds
    # The same versions as everywhere; cargo adds what only the targets need.
    cp Cargo.lock fuzz/Cargo.lock
    for target in fuzz/fuzz_targets/*.rs; do
        name="$(basename "$target" .rs)"
        seeds="fuzz/seeds/$name"
        if [ "$name" = flow_file ]; then seeds=scenarios/flows; fi
        mkdir -p "fuzz/corpus/$name"
        fuzz run "$name" "fuzz/corpus/$name" "$seeds" -- -max_total_time="$fuzz_s" \
            -max_len="$fuzz_input_bytes_max" -rss_limit_mb="$fuzz_memory_mb_max" || return 1
    done
}

# With each check of the sync leases taken out, and each bug planted in a behaviour, some rule has to be seen failing.
# A build of its own: the switches are in no other.
proof_of_the_proof() {
    cargo test --quiet --package twinway-protocol --features mutations --test lease --test model -- proof --nocapture &&
        cargo test --quiet --package twinway-scenarios --features mutations --test lease_mutations --test flow_mutations \
            --test regressions -- --nocapture
}

# The larger worlds of the searched model, which say how many states they have. Optimized: otherwise they take an hour.
searched_model() {
    TWINWAY_MODEL_LONG=1 cargo test --release --quiet --package twinway-protocol --test model -- --nocapture --test-threads=1
}

# Every simulated world, 10,000 schedules each. Optimized as well: otherwise it takes more than a quarter of an hour.
simulated_worlds() { cargo test --release --quiet --package twinway-scenarios --test worlds -- --ignored; }

# The tests, last: the output ends with the runner's own summary.
run_tests() {
    local log="$scratch/tests.log" code start=$SECONDS command
    if [ "$runner" = nextest ]; then
        command=(cargo nextest run --workspace)
        if $long; then command+=(--profile long --run-ignored all -E 'not test(/^ten_thousand_orders/)'); fi
    else
        command=(cargo test --workspace --lib --bins --tests --examples --no-fail-fast)
        if $long; then command+=(-- --include-ignored --skip ten_thousand_orders); fi
    fi

    heading "tests: ${command[*]}"
    set +e
    "${command[@]}" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    set -e
    printf '    tests took %s s, the whole run %s s\n' "$((SECONDS - start))" "$SECONDS"

    heading "skipped by the tests"
    if [ -s "$TWINWAY_SKIPS" ]; then
        sort -u "$TWINWAY_SKIPS" | sed -e 's/^SKIPPED: //' -e 's/^/SKIPPED: /'
    else
        echo "    nothing"
    fi
    if [ "${#failures[@]}" -gt 0 ]; then
        heading "failed steps before the tests"
        printf 'FAILED: %s\n' "${failures[@]}"
        if [ "$code" -eq 0 ]; then code=1; fi
    fi

    heading "summary of the tests"
    if [ "$runner" = nextest ]; then
        sed -n '/^ *Summary \[/,$p' "$log"
    else
        grep '^test result:' "$log" || true
    fi
    return "$code"
}

# A fresh clone builds once: incremental data would only cost time and disk.
if [ "${CI:-}" = true ]; then export CARGO_INCREMENTAL=0; fi
if $long; then export PROPTEST_CASES="${PROPTEST_CASES:-4096}" TWINWAY_HISTORIES="${TWINWAY_HISTORIES:-100000}"; fi

heading "tools"
tools
step "versions" versions
step "lock file" lock_file
if $has_fmt; then step "formatting" cargo fmt --all --check; fi
if $has_deny; then step "dependencies" dependencies; fi
if $has_clippy; then step "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings; fi
step "documentation" documentation
step "documentation's examples" cargo test --doc --workspace --quiet
step "the proofs of the sync leases and of the flows, with checks taken out and bugs planted" proof_of_the_proof
if $long; then
    step "the searched model of the sync leases, larger worlds" searched_model
    step "10,000 schedules of every simulated world" simulated_worlds
    if compgen -G 'benches/*.rs' >/dev/null; then step "benches, once each" benches; else skip "benches: there are none"; fi
    reason="$(unfuzzed)"
    if [ -z "$reason" ]; then step "fuzz targets, $fuzz_s s each" fuzz_targets; else skip "fuzz targets: $reason"; fi
else
    skip "heavy searches, tests marked #[ignore], fuzz targets, benches: only with --long"
fi
if [ -z "${TWINWAY_TEST_DATA:-}" ]; then
    skip "tests on real Thing Descriptions and the W3C schemas: TWINWAY_TEST_DATA is unset"
fi

heading "skipped so far"
if [ "${#skips[@]}" -gt 0 ]; then printf 'SKIPPED: %s\n' "${skips[@]}"; else echo "    nothing"; fi
run_tests
