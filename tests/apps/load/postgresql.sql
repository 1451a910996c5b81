-- Queries over what pgbench left; every result is in a fixed order.
SET work_mem = '32MB';
SELECT md5(string_agg(aid || ':' || abalance, ',' ORDER BY aid)) FROM pgbench_accounts;
SELECT md5(string_agg(tid || ':' || tbalance, ',' ORDER BY tid)) FROM pgbench_tellers;
SELECT md5(string_agg(t.line, ',' ORDER BY t.line)) FROM
  (SELECT tid || ':' || bid || ':' || aid || ':' || delta AS line FROM pgbench_history) t;

SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SELECT a.aid % 50 AS bucket, count(*), sum(h.delta), max(a.abalance)
  FROM pgbench_accounts a JOIN pgbench_history h USING (aid) GROUP BY bucket ORDER BY bucket;
SELECT count(*), count(DISTINCT abalance), sum(length(filler)) FROM pgbench_accounts;

SET work_mem = '1MB';
SELECT md5(string_agg(x, '')) FROM
  (SELECT md5(i::text) AS x FROM generate_series(1, 300000) AS i ORDER BY md5(i::text)) s;
SET work_mem = '64MB';
SELECT k, count(*), md5(string_agg(v, ',' ORDER BY v)) FROM
  (SELECT i % 20 AS k, repeat(md5((i * 7)::text), 1 + i % 5) AS v
     FROM generate_series(1, 60000) AS i) s GROUP BY k ORDER BY k;
SELECT md5(jsonb_agg(jsonb_build_object('id', i, 'tags', to_jsonb(ARRAY[md5(i::text), i::text]),
  'deep', jsonb_build_object('n', i % 17)) ORDER BY i)::text) FROM generate_series(1, 30000) AS i;
SELECT count(*), md5(string_agg(w, ' ')) FROM
  (SELECT regexp_split_to_table(repeat('one two  three4 five ', 5000), '\s+') AS w) s;

SET max_parallel_workers_per_gather = 0;
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
SELECT sum(abalance * 3 + aid % 7), min(aid + bid), max(length(filler) + abalance)
  FROM pgbench_accounts WHERE aid % 3 = 1 AND abalance <> 1;
SELECT bid, avg(abalance)::numeric(20, 6), count(*) FILTER (WHERE abalance > 0)
  FROM pgbench_accounts GROUP BY bid ORDER BY bid;

DO $$
BEGIN
  IF pg_read_file('/proc/self/maps') NOT LIKE '%libLLVM%' THEN
    RAISE EXCEPTION 'no query was compiled';
  END IF;
END
$$;

DO $$
DECLARE
  kept text[] := '{}';
BEGIN
  FOR i IN 1..20000 LOOP
    kept := kept[greatest(1, array_length(kept, 1) - 50):] || repeat(i::text, 1 + i % 30);
    IF i % 100 = 0 THEN
      BEGIN
        PERFORM 1 / (i - i);
      EXCEPTION WHEN division_by_zero THEN
        NULL;
      END;
    END IF;
  END LOOP;
  CREATE TEMP TABLE result AS SELECT md5(array_to_string(kept, ',')) AS digest;
END
$$;
SELECT digest FROM result;
VACUUM ANALYZE;
