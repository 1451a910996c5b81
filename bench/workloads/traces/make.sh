#!/usr/bin/env bash
# Records the traces that are shipped here, from small runs of real programs.
#
#   make.sh BIN_DIR OUTPUT_DIR
#
# BIN_DIR holds weir_bench_replay and libweir_record.so.
#   sqlite3.trace   one thread: a script of inserts, sorts, joins, JSON and updates
#   python3.trace   five threads: three send objects through a queue to one that frees them
set -euo pipefail

bin_dir=$(realpath "${1:?usage: make.sh BIN_DIR OUTPUT_DIR}")
output_dir=$(realpath "${2:?usage: make.sh BIN_DIR OUTPUT_DIR}")
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT
cd "$work_dir"

cat >script.sql <<'END'
PRAGMA cache_size=200;
CREATE TABLE t(k INTEGER PRIMARY KEY, name TEXT, n INT);
CREATE INDEX t_name ON t(name);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<400)
INSERT INTO t SELECT i, printf('name %d %s', (i*7919)%4001, hex(zeroblob(i%40))), i%97 FROM c;
SELECT n, count(*), group_concat(name) FROM t GROUP BY n ORDER BY 2 DESC, 1 LIMIT 5;
SELECT a.name, b.name FROM t a JOIN t b ON a.n=b.n AND a.k<b.k WHERE a.name LIKE '%9%'
ORDER BY a.name LIMIT 20;
CREATE TABLE words AS SELECT upper(name) AS w, json_object('k',k,'n',n) AS j FROM t;
SELECT sum(json_extract(j,'$.n')) FROM words;
UPDATE t SET name=name||'-'||k WHERE k%3=0;
DELETE FROM t WHERE k%5=0;
SELECT length(group_concat(w)) FROM words;
END

cat >script.py <<'END'
import threading, queue, zlib
q = queue.Queue(64)
def make(n):
    for i in range(n):
        q.put([bytes(600 + (i * 37) % 3000), "x" * (550 + i % 700)])
    q.put(None)
def use(ends):
    while ends:
        item = q.get()
        if item is None:
            ends -= 1
        else:
            zlib.crc32(item[0] + item[1].encode())
threads = [threading.Thread(target=make, args=(190,)) for _ in range(3)]
threads.append(threading.Thread(target=use, args=(3,)))
for t in threads: t.start()
for t in threads: t.join()
END

# record NAME COMMAND...: the script is on standard input of those that read it there.
record() {
  local name=$1
  shift
  LD_PRELOAD=$bin_dir/libweir_record.so WEIR_RECORD=$work_dir/$name "$@" >/dev/null
  "$bin_dir/weir_bench_replay" --trace "$work_dir/$name".* --rewrite "$output_dir/$name.trace"
}

record sqlite3 sqlite3 data.db <script.sql
record python3 /usr/bin/python3 -I -S script.py
