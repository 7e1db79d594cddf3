#!/bin/sh
# Stands in for Python in the tests. Started through a link, it logs its arguments beside the link and
# does what the test wrote there. (A script written and started at once can be "busy" when another
# test's thread forks in between.)
here=$(dirname "$0")
echo "$@" >>"$here/calls"
WHEEL=$here/x.whl
. "$here/behaviour.sh"
