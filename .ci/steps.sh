# Steps with a name and a time; sourced by run and full.

step_names=()
step_seconds=()
step_results=()

# step NAME COMMAND...: runs it and goes on either way, so that one run shows all that is wrong.
step() {
  local name=$1 start=$SECONDS result=ok
  shift
  printf '\n=== %s: %s\n' "$name" "$*"
  "$@" </dev/null || result="FAILED ($?)"
  step_names+=("$name")
  step_seconds+=($((SECONDS - start)))
  step_results+=("$result")
}

# cargo goes by the files' times: after a build of a clone elsewhere it would take that one's programs,
# with that one's paths inside, for this one's.
own_cache() {
  local mark="$CARGO_TARGET_DIR/clone"
  [[ $(cat "$mark" 2>/dev/null) == "$PWD" ]] && return
  git ls-files -z '*.rs' | xargs -0 touch
  mkdir -p "$CARGO_TARGET_DIR"
  printf '%s' "$PWD" >"$mark"
}

# One target folder for the backends that CI only type-checks: they share all but their last crates.
type_check() { # FEATURES
  # DOCS_RS: the build scripts of the CUDA compiler stand back and download nothing.
  DOCS_RS=1 CARGO_TARGET_DIR="$CARGO_TARGET_DIR/type-check" \
    cargo check --release --package firebox --no-default-features --features "cli,$1"
}

# Prints the table; fails if a step did.
finish() {
  local i failed=0
  printf '\n%-24s %8s  %s\n' step seconds result
  for i in "${!step_names[@]}"; do
    printf '%-24s %8d  %s\n' "${step_names[i]}" "${step_seconds[i]}" "${step_results[i]}"
    [[ ${step_results[i]} == ok ]] || failed=1
  done
  printf '%-24s %8d\n' all "$SECONDS"
  return "$failed"
}

# install PACKAGE: from Debian's archive, whose lists may be old or not there yet.
install() {
  if [[ -z ${apt_updated:-} ]]; then
    apt-get update -qq
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
}

# need COMMAND PACKAGE: installs the package only where the command is missing.
need() {
  command -v "$1" >/dev/null || install "$2"
}

# The tests fetch a real model and real text through pip.
need_pip() {
  python3 -m pip --version >/dev/null 2>&1 || install python3-pip
}
