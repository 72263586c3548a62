# SPDX-License-Identifier: GPL-2.0-or-later
# Shell workload: arithmetic, string handling and forked subshells, all with
# shell builtins, so that it needs no other program.  $1: rounds.
n=${1:-200}
i=0
total=0
list=
while [ $i -lt $n ]; do
    j=0
    while [ $j -lt 100 ]; do
        total=$(( (total * 31 + i * j) % 1000003 ))
        case $total in
        *7*) total=$((total + 1)) ;;
        esac
        j=$((j + 1))
    done
    word=item-$i-$total
    list="${word#item-} ${list%% *}"
    sub=$(echo "$word" | { read -r line; echo "${#line}"; })
    total=$((total + sub))
    i=$((i + 1))
done
[ $total -ge 0 ]
