"""Eight threads; objects made by one are read and dropped by the next. Prints digests only.
Arguments: a file for the process's maps, and how many rounds."""
import collections
import gc
import hashlib
import json
import queue
import random
import re
import sys
import threading

THREADS = 8
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 40

with open("/proc/self/maps") as source, open(sys.argv[1], "w") as copy:
    copy.write(source.read())


def records(rng, count):
    return [
        {
            "id": i,
            "name": "n%x" % rng.getrandbits(40),
            "tags": [str(rng.random()) for _ in range(rng.randrange(6))],
            "body": "x" * rng.randrange(400),
            "nested": {str(k): rng.getrandbits(70) for k in range(rng.randrange(5))},
        }
        for i in range(count)
    ]


def work(index, inbox, outbox, digests):
    rng = random.Random(1000 + index)
    digest = hashlib.sha256()
    kept = collections.deque(maxlen=4)
    for _ in range(ROUNDS):
        made = records(rng, 500)
        text = json.dumps(made, sort_keys=True)
        # The next thread in the ring parses, digests and frees what this one made.
        outbox.put((made, text))
        received, received_text = inbox.get()
        digest.update(received_text.encode())
        assert json.loads(received_text) == received
        received.sort(key=lambda r: (r["name"], r["id"]))
        by_length = {}
        for record in received:
            by_length.setdefault(len(record["body"]) // 16, []).append(record["name"])
        digest.update(repr(sorted(by_length.items())).encode())
        words = re.findall(r"[a-f]+[0-9]+", received_text)
        digest.update(str(collections.Counter(words).most_common(3)[0][1]).encode())
        joined = ""
        for word in words[:2000]:
            joined += word
        digest.update(joined.encode())
        blob = bytearray()
        for size in (1, 15, 17, 250, 4000, 70000, 300000):
            blob += bytes([size & 255]) * size
        digest.update(hashlib.md5(blob).digest())
        kept.append((by_length, words, blob))
        matrix = [[float(i * j) for j in range(40)] for i in range(40)]
        digest.update(repr(sum(map(sum, zip(*matrix)))).encode())
    digests[index] = digest.hexdigest()


queues = [queue.Queue() for _ in range(THREADS)]
digests = [None] * THREADS
threads = [
    threading.Thread(target=work, args=(i, queues[i], queues[(i + 1) % THREADS], digests))
    for i in range(THREADS)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gc.collect()

# Threads that come and go: each leaves its last objects to another.
left = []


def short(index):
    left.append([str(index + k) * 20 for k in range(50)])


for base in range(0, 800, 8):
    some = [threading.Thread(target=short, args=(base + i,)) for i in range(8)]
    for thread in some:
        thread.start()
    for thread in some:
        thread.join()
for index, value in enumerate(digests):
    print(index, value)
print(len(left), hashlib.sha256("".join(sorted("".join(x) for x in left)).encode()).hexdigest())
