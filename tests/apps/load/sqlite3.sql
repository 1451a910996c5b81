-- Deterministic: every value is arithmetic on the row number.
.mode list
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY;
PRAGMA threads = 2;

CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, region INTEGER);
CREATE TABLE sale (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, tag TEXT);

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO customer
  SELECT i, printf('customer-%08x', (i * 2654435761) & 4294967295), i % 37 FROM n;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
INSERT INTO sale
  SELECT i, 1 + (i * 7919) % 20000, (i * 104729) % 100003,
         substr(printf('tag-%x-%s', (i * 40503) & 65535, hex(i)), 1, 6 + i % 20)
  FROM n;

.shell cat /proc/$PPID/maps > maps

CREATE INDEX sale_customer ON sale (customer, amount);
CREATE INDEX sale_tag ON sale (tag);
ANALYZE;

SELECT count(*), sum(amount), min(tag), max(tag) FROM sale;
SELECT c.region, count(*), sum(s.amount), avg(s.amount), max(s.tag)
  FROM sale s JOIN customer c ON c.id = s.customer GROUP BY c.region ORDER BY c.region;
SELECT c.name, sum(s.amount) AS total
  FROM customer c JOIN sale s ON s.customer = c.id
  GROUP BY c.id ORDER BY total DESC, c.name LIMIT 200;
SELECT tag, count(*) AS k FROM sale GROUP BY tag HAVING k > 3 ORDER BY k DESC, tag LIMIT 200;
SELECT id, amount, tag FROM sale ORDER BY amount DESC, tag, id LIMIT 500;
SELECT length(group_concat(tag, ',')) FROM (SELECT tag FROM sale ORDER BY tag DESC, id);
SELECT region, sum(length(j)) FROM
  (SELECT c.region AS region, json_group_array(json_object('id', s.id, 'tag', s.tag)) AS j
     FROM sale s JOIN customer c ON c.id = s.customer WHERE s.id <= 100000 GROUP BY c.id)
  GROUP BY region ORDER BY region;

UPDATE sale SET tag = tag || '-' || amount WHERE id % 5 = 0;
DELETE FROM sale WHERE id % 7 = 0;
SELECT count(*), sum(length(tag)) FROM sale;
PRAGMA integrity_check;
