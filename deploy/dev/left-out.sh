# shellcheck shell=bash
# What no plugin is built from: its tests, what they are tried with, and what is told of it. A change of
# these files builds nothing anew, and the plugin stays the same version. Any other file may be part of
# a plugin, which can read it when it is built: a table of units, in JSON Lines perhaps.
#
# Sourced by inputs.sh and origin.sh. The patterns are of names, in any folder.
# shellcheck disable=SC2034 # they use it
left_out=(
    '*.cases.toml' '*.cases.json' events.jsonl
    'test_*.py' '*.test.[jt]s' '*.test.[cm][jt]s' '*_test.c' '*_test.cpp' '*_test.go'
    README.md .gitignore '*~'
)
