#!/bin/sh
# Checks the unit and the manifests against their schemas: deploy/check.sh
# Needs systemd-analyze, and python3 with venv.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program need not be installed where the unit is checked.
sed "s|^ExecStart=/usr/local/bin/firebox|ExecStart=$(command -v true)|" firebox.service > "$work/firebox.service"
systemd-analyze verify "$work/firebox.service"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet kubernetes-validate pyyaml
for kind in deployment service autoscaler disruption-budget; do
  "$work/venv/bin/kubernetes-validate" --strict "kubernetes/$kind.yaml"
done
# Kinds that are no part of Kubernetes itself: at least YAML with a kind.
"$work/venv/bin/python" - kubernetes/metrics/*.yaml kubernetes/gateway/*.yaml <<'PYTHON'
import sys
import yaml
for path in sys.argv[1:]:
    for document in yaml.safe_load_all(open(path)):
        assert isinstance(document, dict), path
PYTHON
