\set first random(1, 400000)
SELECT count(*), sum(length(rows)) FROM
  (SELECT bid, aid % 400 AS part,
          json_agg(json_build_object('aid', aid, 'text', filler))::text AS rows
     FROM pgbench_accounts WHERE aid BETWEEN :first AND :first + 20000 GROUP BY 1, 2) AS grouped;
SELECT string_agg(md5(aid::text), ',' ORDER BY aid % 1009, aid) IS NOT NULL
  FROM pgbench_accounts WHERE aid BETWEEN :first AND :first + 20000;
