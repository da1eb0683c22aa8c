#!/bin/sh
# Counts the lines of each level in a log file.
cut -d ' ' -f 2 "$1" | sort | uniq -c | sort -rn
