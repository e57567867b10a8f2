# Sourced by the scripts beside it: where the project is, how many jobs, stages and their times.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by those who source it

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CALLER_FOLDER=$PWD
cd "$ROOT" || exit 1

# Two compilers at a time, as one needs up to 2 GB; PGLESSOR_JOBS=N for more.
JOBS=${PGLESSOR_JOBS:-$(nproc)}
[[ -n ${PGLESSOR_JOBS:-} || $JOBS -le 2 ]] || JOBS=2

# Relative paths, so that what was compiled in one folder is found again from another.
export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1

say() { printf '\n== %s\n' "$*"; }
warn() { printf '\n!! %s\n' "$*" >&2; }
fail() {
  printf '\n!! %s\n' "$*" >&2
  exit 1
}
# The comment at the head of the script that runs, as its --help.
usage() { sed -n '2,/^[^#]/{/^[^#]/d;s/^# \{0,1\}//;p}' "$0"; }

# --- stages -------------------------------------------------------------------------------------
# stage NAME COMMAND... runs it and notes how long it took and how it ended: 0 = passed, 77 = skipped.
# The rows go to the file PGLESSOR_STAGES, which .ci/run shares among the scripts that it calls.
STAGES=${PGLESSOR_STAGES:-}

stage() {
  local name=$1 begin=$SECONDS result=0 word=passed
  shift
  if [[ -z $STAGES ]]; then
    STAGES=$(mktemp -t pglessor-stages.XXXXXX)
    trap 'rm -f "$STAGES"' EXIT
  fi
  say "$name"
  # In a shell of its own, without `||` or `if`, so that `set -e` holds inside.
  set +e
  (
    set -e
    "$@"
  )
  result=$?
  set -e
  case $result in
    0) ;;
    77) word=SKIPPED ;;
    *) word=FAILED ;;
  esac
  printf '%s\t%s\t%s\n' "$word" "$((SECONDS - begin))" "$name" >>"$STAGES"
  [[ $word != FAILED ]] || warn "$name: FAILED (exit $result)"
  return 0
}

a_stage_failed() { grep -q '^FAILED' "$STAGES"; }

# The table of all stages so far; false if one of them failed.
stage_table() {
  printf '\n%-8s %8s  %s\n' result seconds stage
  awk -F '\t' '{ printf "%-8s %8d  %s\n", $1, $2, $3; all += $2 } END { printf "%-8s %8d  %s\n", "", all, "in all" }' \
    "$STAGES"
  if a_stage_failed; then return 1; fi
}

# --- the build ----------------------------------------------------------------------------------
# configure PRESET FOLDER [ARGUMENTS OF CMAKE...]; silent unless it fails.
configure() {
  local preset=$1 folder=$2 log
  shift 2
  log=$folder/configure.log
  mkdir -p "$folder"
  if ! cmake --preset "$preset" "$@" >"$log" 2>&1; then
    cat "$log" >&2
    fail "configuring failed; if a package is missing, script/bootstrap installs it"
  fi
}

# Sanitizers of clang before 18 fail at random where the kernel randomizes addresses widely.
run_unrandomized() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    setarch "$(uname -m)" -R "$@"
  else
    "$@"
  fi
}

# Our C++ files, all of them.
cpp_files() {
  local folders=() folder
  for folder in server client tests bench; do [[ ! -d $folder ]] || folders+=("$folder"); done
  [[ ${#folders[@]} -eq 0 ]] || find "${folders[@]}" -type f \( -name '*.h' -o -name '*.cc' \) | sort
}

BUF=build/tools/bin/buf
