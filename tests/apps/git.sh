#!/bin/bash
# git: some thousand generated files committed, repacked with threads, collected, checked and
# read back; the same object ids, listings and diffs with and without weir.
. "$(dirname "$0")/lib.sh"

need git perl
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_PAGER=cat
export GIT_AUTHOR_NAME=author GIT_AUTHOR_EMAIL=author@example.org
export GIT_COMMITTER_NAME=committer GIT_COMMITTER_EMAIL=committer@example.org

check_bindings git --version
for mode in plain weir; do
  run $mode git init -q -b main repo
  for key in gc.auto=0 pack.threads=4 index.threads=4 grep.threads=4 core.preloadIndex=true; do
    run $mode git -C repo config "${key%=*}" "${key#*=}"
  done
  for step in 1 2 3 4; do
    export GIT_AUTHOR_DATE="$((1600000000 + step)) +0000"
    export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
    (cd "$scratch/$mode/repo" && perl "$load/git.pl" $step)
    run $mode git -C repo add -A
    run $mode git -C repo commit -q -m "step $step"
  done
  # Over and over, so that the short-lived process that packs can be seen on a busy machine.
  run_seen $mode '*pack-objects*' sh -c 'for i in 1 2 3 4 5 6 7 8; do git -C repo repack -q -adf; done'
  run $mode git -C repo gc -q --prune=now
  run $mode git -C repo fsck --full --strict
  run $mode git -C repo rev-parse HEAD 'HEAD^{tree}' HEAD~3
  run $mode git -C repo cat-file --batch-all-objects '--batch-check=%(objectname) %(objecttype) %(objectsize)'
  run $mode git -C repo log --stat --format=fuller
  run $mode git -C repo diff -M --patience HEAD~3 HEAD
  run $mode git -C repo grep -c 'word1[0-9]*7' HEAD~1
  run $mode git -C repo blame -s d3/f33.txt
  run $mode git -C repo archive HEAD~2
  run $mode git clone -q --no-local repo clone
  run $mode git -C clone status --porcelain=v2 --branch
  rm -rf "$scratch/$mode/repo" "$scratch/$mode/clone"
done
# Packs themselves are not compared: with threads, delta search divides its work by timing.
compare "object ids, logs or diffs"
